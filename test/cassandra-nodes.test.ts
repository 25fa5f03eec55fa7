/** The Cassandra that tests run: killed, and back. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { absentJava } from './support/cassandra/java.ts'
import { CassandraNodes } from './support/cassandra.ts'
import { Ending } from './support/ends.ts'

const skip = absentJava()
assert.ok(!skip || !process.env.REQUIRE_REAL_PARTS, String(skip))

const write = (ring: CassandraNodes, n: number) => ring.ask(1, `INSERT INTO k.rows (n) VALUES (${n})`)

test('a lone node answers after kill -9 with the tables it had, and leaves nothing at its end', { skip }, async t => {
  const ending = new Ending()
  t.after(() => ending.end())
  const ring = await CassandraNodes.start(ending)
  const replication = `{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}`
  assert.ok(await ring.ask(1, `CREATE KEYSPACE k WITH replication = ${replication}`))
  assert.ok(await ring.ask(1, 'CREATE TABLE k.rows (n int PRIMARY KEY)'))
  assert.ok(await write(ring, 0))
  const before = ring.pid(1)
  await ring.kill(1)
  assert.equal(ring.pid(1), undefined)
  assert.equal(await write(ring, 1), false)
  await ring.start(1)
  assert.notEqual(ring.pid(1), before)
  assert.ok(await write(ring, 1))
  await ending.end()
  assert.ok(!existsSync(ring.directory))
})
