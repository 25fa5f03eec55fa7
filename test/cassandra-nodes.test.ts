/** The Cassandra that tests run: killed, and back. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { absentJava } from './support/cassandra/java.ts'
import { CassandraNodes, type Replicas } from './support/cassandra.ts'
import { Ending } from './support/ends.ts'
import { until } from './support/redis.ts'

const skip = absentJava()
assert.ok(!skip || !process.env.REQUIRE_REAL_PARTS, String(skip))

async function makeTable(ring: CassandraNodes): Promise<void> {
  const replication = `{'class': 'NetworkTopologyStrategy', 'datacenter1': ${ring.hosts.length}}`
  assert.ok(await ring.ask(1, `CREATE KEYSPACE k WITH replication = ${replication}`))
  assert.ok(await ring.ask(1, 'CREATE TABLE k.rows (n int PRIMARY KEY)'))
  // The schema goes to the other nodes by itself.
  await until(() => write(ring, 1, 0, ring.hosts.length as Replicas), 'every node has the table')
}
const write = (ring: CassandraNodes, i: number, n: number, replicas: Replicas) =>
  ring.ask(i, `INSERT INTO k.rows (n) VALUES (${n})`, replicas)

test('a lone node answers after kill -9 with the tables it had, and leaves nothing at its end', { skip }, async t => {
  const ending = new Ending()
  t.after(() => ending.end())
  const ring = await CassandraNodes.start(ending)
  await makeTable(ring)
  const before = ring.pid(1)
  await ring.kill(1)
  assert.equal(ring.pid(1), undefined)
  assert.equal(await write(ring, 1, 1, 1), false)
  await ring.start(1)
  assert.notEqual(ring.pid(1), before)
  assert.ok(await write(ring, 1, 1, 1))
  await ending.end()
  assert.ok(!existsSync(ring.directory))
})
