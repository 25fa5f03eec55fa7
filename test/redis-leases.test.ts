/** Leases by Redis: who lives and who is gone, over crashes, pauses, Sentinels and a Redis Cluster. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import type { NodeChange } from '../core/ports.ts'
import { beatOf, frameOf } from '../storage/redis/frame.ts'
import { hear, text } from './contracts/cluster.ts'
import { range } from './contracts/ground.ts'
import { RedisServer, startCluster, until } from './support/redis.ts'
import { cut, heldBy, join, LIFE_MS, whole } from './support/redis-nodes.ts'
import { absent } from './support/server.ts'

const skip = await absent('redis-server')
/** The node `child`, in a process of its own. */
async function listener(t: TestContext, url: string, ...key: string[]) {
  const program = fileURLToPath(new URL('support/listener.js', import.meta.url))
  const child = spawn(process.execPath, [program, url, 'x', ...key], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

test('a peer that is silent is told apart from one that is gone', { skip }, async t => {
  const server = await RedisServer.start(t)
  const a = await join(t, server.url, 'a')
  const child = await listener(t, server.url)
  const silentMs = () => a.bus.peers().find(({ node }) => node === 'child')?.silentMs
  await until(() => silentMs() !== undefined, 'it is a peer')
  await cut(server, 'im-publisher')
  child.kill('SIGSTOP')
  await until(() => Number(silentMs()) > 500, 'it is silent and lives')
  await until(() => silentMs() === undefined, 'it is gone when its lease is')
})

test('a start after a crash is told apart, and the others tell of a lease that ran out', { skip }, async t => {
  const server = await RedisServer.start(t)
  const a = await join(t, server.url, 'a')
  const leaves = await join(t, server.url, 'child')
  await leaves[Symbol.asyncDispose]()
  const child = await listener(t, server.url)
  child.kill('SIGKILL')
  const again = await join(t, server.url, 'child')
  assert.deepEqual(
    [leaves, again, a].map(node => node.figures().startedAfterCrash),
    [false, true, false],
  )
  await until(() => a.figures().nodesLost === 1, 'a saw the lease run out')
  await again[Symbol.asyncDispose]()
  await until(async () => (await a.leases.nodes())?.length === 1, 'a is alone')
  // A lease that was given up would run out now.
  await new Promise(resolve => setTimeout(resolve, 2 * LIFE_MS))
  assert.equal(a.figures().nodesLost, 1)
})

test('leases that ran out while Redis stood still are lost with it', { skip }, async t => {
  const server = await RedisServer.start(t)
  // Longer than a life, and shorter than two: then the lapsed leases are still seen.
  const [lifeMs, pauseMs] = [3_000, 4_200]
  const [a, b] = [await join(t, server.url, 'a', lifeMs), await join(t, server.url, 'b', lifeMs)]
  await until(() => a.figures().silentMs < 1_200, 'it answers')
  server.pause()
  await until(() => a.figures().silentMs > pauseMs, 'it answers nobody')
  server.resume()
  await whole(a, b)
  await until(async () => (await a.leases.nodes())?.length === 2, 'both are there')
  await new Promise(resolve => setTimeout(resolve, 2 * lifeMs))
  for (const { figures } of [a, b]) {
    const { nodesLost, losses, silentMs } = figures()
    assert.deepEqual([nodesLost, losses], [0, 1])
    assert.ok(silentMs < 2_000)
  }
})

test('the clock is compared with that of Redis', { skip }, async t => {
  const server = await RedisServer.start(t)
  const a = await join(t, server.url, 'a')
  assert.ok(Math.abs(a.figures().clockOffsetMs ?? Number.NaN) < 1_000)
  const now = Date.now
  t.mock.method(Date, 'now', () => now() + 300_000)
  await until(() => Math.abs(Number(a.figures().clockOffsetMs) - 300_000) < 1_000, 'five minutes ahead')
})

test('a node that is killed holds nothing after its life, and the others are told', { skip }, async t => {
  const server = await RedisServer.start(t)
  const a = await join(t, server.url, 'a')
  const changes: NodeChange[] = []
  a.leases.onNodes(change => changes.push(change))
  const child = await listener(t, server.url, 'key')
  assert.deepEqual(await heldBy(a, 'key'), ['child'])
  child.kill('SIGKILL')
  await until(async () => (await heldBy(a, 'key'))?.length === 0, 'its key is held by nobody')
  await until(() => changes.some(({ gone }) => gone.includes('child')), 'a is told')
  assert.deepEqual(await a.leases.nodes(), ['a'])
  assert.deepEqual(await server.ask('HLEN', 'im:h:key'), 0, 'what a dead node wrote is removed by who reads it')
})

test('behind Sentinels the new master is found when the old one dies', { skip }, async t => {
  const master = await RedisServer.start(t)
  const replica = await RedisServer.start(
    t,
    '--replicaof',
    '127.0.0.1',
    `${master.port}`,
    '--repl-diskless-sync-delay',
    '0',
  )
  const sentinel = await RedisServer.sentinel(t, master)
  const url = `redis+sentinel://127.0.0.1:${sentinel.port}/main`
  const [a, b] = [await join(t, url, 'a'), await join(t, url, 'b')]
  const heard = hear(b.bus, 'x')
  a.leases.hold('s', 'v')
  await Promise.all([a.leases.settled(), b.bus.settled()])
  assert.deepEqual(await heldBy(b, 's'), ['a'])
  await until(
    async () => String(await sentinel.ask('SENTINEL', 'replicas', 'main')).includes(`${replica.port}`),
    'known',
  )
  await until(async () => /master_link_status:up/.test(String(await replica.ask('INFO'))), 'the replica has its copy')

  await master.kill()
  // Who is made the master cuts off whoever was talking to it.
  const role = async () => String(await replica.ask('INFO').catch(() => ''))
  await until(async () => /role:master/.test(await role()), 'the replica is the master')
  await whole(a, b)
  await until(async () => (await heldBy(b, 's'))?.length === 1, 'it is held')
  await until(() => b.missed() > 0, 'b is told')
  a.bus.publish('x', text('heard'))
  assert.deepEqual(await heard.until(1), ['heard'])
})

test('a part of a Cluster that comes back empty has everything again, and the bus goes by another', {
  skip,
}, async t => {
  const { servers, url } = await startCluster(t)
  const [a, b] = [await join(t, url, 'a'), await join(t, url, 'b')]
  const heard = hear(b.bus, 'x')
  const keys = range(1, 300).map(n => `s:${n}`)
  for (const key of keys) a.leases.hold(key, 'v')
  await Promise.all([a.leases.settled(), b.bus.settled()])
  const held = async () => (await b.leases.get(keys))?.filter(holdings => holdings.length === 1).length
  // A Cluster just made may not be of one mind for a moment.
  await until(async () => (await held()) === 300, 'all is held')

  for (const server of servers) {
    await server.kill()
    await until(() => a.bus.healthy && b.bus.healthy, 'the bus is whole without one of three')
    const count = heard.heard.length
    // Nodes of a Cluster that have just found each other again may lose what they carry between them, and tell nobody.
    await until(async () => {
      a.bus.publish('x', text('by another'))
      await new Promise(resolve => setTimeout(resolve, 100))
      return heard.heard.length > count
    }, 'it is heard')
    await server.start()
    await until(async () => (await held()) === 300, 'all is held again')
  }
})

test('who lacks a heartbeat of another is told, once for each that is missing in a row', { skip }, async t => {
  const server = await RedisServer.start(t)
  const b = await join(t, server.url, 'b')
  const heard = hear(b.bus, 'x')
  await b.bus.settled()
  const raw = new Redis({ port: server.port, host: '127.0.0.1' })
  t.after(() => raw.disconnect())
  const told: number[] = []
  const beat = async (from: string, number: number) => {
    await raw.publish('im:0:!', frameOf(Buffer.from(from), 1, beatOf(number, 'a')))
    await raw.publish('im:0:c:x', frameOf(Buffer.from(from), 1, text(number)))
    await heard.until(told.length + 1)
    told.push(b.missed())
  }
  // Long before b was there.
  await beat('sender-1', 7)
  for (const number of [8, 8, 9, 11, 12, 15, 14, 16]) await beat('sender-1', number)
  assert.deepEqual(told, [0, 0, 0, 0, 1, 1, 2, 2, 2])
  // A line that was lost is told of once, and what came meanwhile belongs to it.
  await cut(server, 'im-subscriber')
  await until(() => b.missed() === 3, 'b is told')
  await beat('sender-1', 19)
  await beat('sender-1', 20)
  assert.equal(b.missed(), 3)
  await new Promise(resolve => setTimeout(resolve, 1_200))
  await beat('sender-2', 1)
  assert.equal(b.missed(), 3, 'a sender that begins')
  await beat('sender-3', 3)
  assert.equal(b.missed(), 4, 'a sender that began unheard')
})
