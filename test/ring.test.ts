/**
 * What a cluster stands, 2: two servers and three nodes of Cassandra, of which some die or are silent while people talk. One
 * is not missed; without two nothing can be stored, which senders are told, and nothing that was acknowledged is lost. The
 * contracts of storage hold on three nodes as on one.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { LocalCluster } from './cluster/cluster.ts'
import { OPS, says } from './contracts/ground.ts'
import { storageContracts } from './contracts/storage.ts'
import { Faults, withoutCluster } from './faults/play.ts'
import type { Round } from './faults/round.ts'
import { CassandraNodes } from './support/cassandra.ts'
import { Ending } from './support/ends.ts'
import { engineOn, keyspaceOf, opened, ringOf } from './support/keyspace.ts'

const skip = withoutCluster()
const ending = new Ending()
const ring = skip ? undefined : await CassandraNodes.start(ending, { nodes: 3, heapMiB: 768 })
if (ring) storageContracts(engineOn('three nodes of cassandra', ring.hosts, 0.25))
// What goes first is asked for first: the keyspace of the contracts needs the nodes.
after(() => ending.end())

test('servers that start at once, each with another node, begin with one schema', { skip }, async t => {
  const { hosts } = ring ?? assert.fail()
  const ours = keyspaceOf(t, hosts)
  const from = (nth: number) => ({ ...ours, hosts: [hosts[nth % hosts.length] as string] })
  const all = await Promise.all([0, 1, 2].map(nth => opened(t, from(nth))))
  for (const [nth, { log }] of all.entries()) assert.equal((await log.append(OPS, says(`${nth}`))).seq, nth + 1)
  const makers = new Set<string>()
  for (const nth of [0, 1, 2]) {
    await using asked = await ringOf(from(nth), ours.keyspace)
    for (const table of ['a', 'b', 'c'])
      makers.add(await asked.define(`CREATE TABLE IF NOT EXISTS ${table} (id int PRIMARY KEY)`))
  }
  assert.equal(makers.size, 1, 'one node makes all tables')
})

const faults = new Faults('ring', skip, ends =>
  LocalCluster.start(ends, { nodes: 2, ...(ring && { cassandra: ring }) }),
)

/** One of three is broken for as long as `broken` takes. */
async function without(round: Round, what: string, broken: (node: number) => Promise<void>): Promise<void> {
  await round.some()
  const node = round.chance.of([1, 2, 3])
  round.breaks(what)
  await broken(node)
  round.mended(what)
  await round.some()
}

faults.play('kill-cassandra', 'one of three nodes of Cassandra is killed, and starts again', async (round, cluster) => {
  await without(round, 'a node of Cassandra is dead', async node => {
    await cluster.cassandra.kill(node)
    await round.some()
    await cluster.cassandra.start(node)
  })
})

faults.play('pause-cassandra', 'one of three nodes of Cassandra answers nothing for 10 s', async (round, cluster) => {
  await without(round, 'a node of Cassandra is silent', async node => {
    cluster.cassandra.pause(node)
    await wait(10_000)
    cluster.cassandra.resume(node)
  })
})

faults.play('two-down', 'two of three nodes of Cassandra are dead: sends are refused', async (round, cluster) => {
  const { cassandra } = cluster
  await round.some()
  const alive = round.chance.of(cassandra.numbers)
  const dead = cassandra.numbers.filter(node => node !== alive)
  // Without storage nobody can write down what a connection that ends leaves: what was acknowledged last may come again.
  round.breaks('two nodes of Cassandra are dead')
  for (const node of dead) await cassandra.kill(node)
  const { status, code } = await round.post(`${round.group} without storage`)
  if (status !== 503 || code !== 'log-unavailable')
    round.recorder.problems.push(`a send without storage is answered ${status} ${code}`)
  await wait(2_000)
  await Promise.all(dead.map(node => cassandra.start(node)))
  round.mended('two nodes of Cassandra are dead')
  await round.some()
})
