/** What `GET /metrics` of a server tells of Redis and of its peers. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { readConfig } from '../server/config.ts'
import { createServer } from '../server/server.ts'
import { type OpenedCluster, openCluster } from '../storage/open.ts'
import { hear, text } from './contracts/cluster.ts'
import { metrics } from './support/metrics.ts'
import { RedisServer, until } from './support/redis.ts'
import { absent } from './support/server.ts'

const skip = await absent('redis-server')
const LIFE_MS = 900

async function node(t: TestContext, name: string, url?: string): Promise<OpenedCluster> {
  const opened = await openCluster({ url, node: name, lifeMs: LIFE_MS })
  t.after(() => opened[Symbol.asyncDispose]())
  return opened
}

/** A server that tells of the cluster. */
async function watching(t: TestContext, cluster: OpenedCluster) {
  const directory = mkdtempSync(join(tmpdir(), 'im-test-'))
  const settings = { IM_DATA_DIR: directory, IM_STORAGE: 'memory', IM_HTTP_PORT: '0', IM_MQTT_PORT: '0' }
  const server = await createServer(readConfig({ ...settings, IM_LOG_LEVEL: 'silent' }))
  t.after(async () => {
    await server[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })
  server.telemetry.joined(cluster)
  const ask = async (name: string) => (await metrics(server))(name)
  return {
    ask,
    becomes: (name: string, value?: number) => until(async () => (await ask(name)) === value, name),
  }
}
const SILENCE = 'im_bus_peer_silence_seconds{peer="b"}'
const COUNTERS = [
  ['im_redis_losses_total', 'im_bus_dropped_total', 'im_bus_missed_total', 'im_cluster_nodes_lost_total'],
  ['im_bus_messages_total{direction="sent"}', 'im_bus_messages_total{direction="received"}'],
].flat()

test('a server tells of its peers, of the bus between them, and of Redis while it is there and while it is not', {
  skip,
  timeout: 60_000,
}, async t => {
  const redis = await RedisServer.start(t)
  const a = await node(t, 'a', redis.url)
  const { ask, becomes } = await watching(t, a)
  for (const name of COUNTERS) assert.equal(await ask(name), 0, name)
  assert.deepEqual([await ask('im_redis_up'), await ask('im_cluster_nodes')], [1, 1])
  assert.equal(await ask('im_started_after_crash'), 0)
  assert.ok(Math.abs(Number(await ask('im_clock_offset_seconds'))) < 1)
  assert.equal(await ask(SILENCE), undefined)

  const b = await node(t, 'b', redis.url)
  await becomes('im_cluster_nodes', 2)
  await until(async () => Number(await ask(SILENCE)) < 5, 'b is a peer')
  const [there, here] = [hear(b.bus, 'x'), hear(a.bus, 'x')]
  await Promise.all([a.bus.settled(), b.bus.settled()])
  a.bus.publish('x', text('one'))
  a.bus.publish('x', text('two'))
  b.bus.publish('x', text('three'))
  await Promise.all([there.until(2), here.until(1)])
  await becomes('im_bus_messages_total{direction="sent"}', 2)
  await becomes('im_bus_messages_total{direction="received"}', 1)

  await redis.kill()
  a.bus.publish('x', text('never'))
  await becomes('im_bus_dropped_total', 1)
  await becomes('im_redis_losses_total', 1)
  await becomes('im_cluster_nodes', undefined)
  await becomes('im_redis_up', 0)
  await redis.start()
  await becomes('im_redis_up', 1)
  await becomes('im_cluster_nodes', 2)
  await until(async () => Number(await ask('im_bus_missed_total')) > 0, 'what was published meanwhile is missed')
  await b[Symbol.asyncDispose]()
  await becomes(SILENCE, undefined)
  assert.deepEqual([await ask('im_cluster_nodes_lost_total'), await ask('im_redis_losses_total')], [0, 1])
})

test('a run that died is told of by its next run, and by the others when its lease ran out', { skip }, async t => {
  const redis = await RedisServer.start(t)
  const a = await watching(t, await node(t, 'a', redis.url))
  await redis.ask('ZADD', 'im:nodes', Date.now() + LIFE_MS, 'another run.000001~b')
  const { ask } = await watching(t, await node(t, 'b', redis.url))
  assert.equal(await ask('im_started_after_crash'), 1)
  await redis.ask('ZADD', 'im:nodes', Date.now() + 2 * LIFE_MS, 'a run.000001~c')
  await a.becomes('im_cluster_nodes', 3)
  await until(async () => Number(await a.ask('im_cluster_nodes_lost_total')) > 0, 'the lease ran out')
  await a.becomes('im_cluster_nodes', 2)
})

test('a server alone tells of no Redis', async t => {
  const { ask } = await watching(t, await node(t, 'alone'))
  for (const name of ['im_redis_up', 'im_redis_losses_total', 'im_started_after_crash'])
    assert.equal(await ask(name), undefined, name)
  assert.deepEqual([await ask('im_cluster_nodes'), await ask('im_bus_missed_total')], [1, 0])
})
