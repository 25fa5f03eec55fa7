/** Attempts are counted together by all nodes, and by each alone while Redis is away. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { throttle } from '../server/throttle.ts'
import { openRedis } from '../storage/redis/open.ts'
import { refusal, throttleContract } from './contracts/throttle.ts'
import { RedisServer, startCluster, until } from './support/redis.ts'
import { absent } from './support/server.ts'

const skip = await absent('redis-server')

async function join(t: TestContext, url: string, node: string, maxCounted?: number) {
  const redis = await openRedis({ url, node })
  t.after(() => redis[Symbol.asyncDispose]())
  await until(() => redis.leases.healthy, 'Redis is there')
  return { redis, counter: throttle(maxCounted, redis.counters) }
}

throttleContract({ name: 'memory', skip: false, make: async () => throttle() })
throttleContract({
  name: 'redis',
  skip,
  make: async t => (await join(t, (await RedisServer.start(t)).url, 'a')).counter,
})

test('nodes count together', { skip }, async t => {
  const { url } = await RedisServer.start(t)
  const [a, b] = [await join(t, url, 'a'), await join(t, url, 'b')]
  for (let i = 0; i < 5; i++) await Promise.all([a, b].map(({ counter }) => counter.take('account:im/alice')))
  for (const { counter } of [a, b]) await refusal(counter.take('account:im/alice'))
  await b.counter.forget('account:im/alice')
  await a.counter.take('account:im/alice')
})

test('nodes of a Redis Cluster count together', { skip }, async t => {
  const { url } = await startCluster(t)
  const [a, b] = [await join(t, url, 'a'), await join(t, url, 'b')]
  for (let i = 0; i < 5; i++)
    await Promise.all([a, b].map(({ counter }) => counter.take('account:im/alice', 'guesses:10.1.1.1')))
  for (const { counter } of [a, b]) await refusal(counter.take('account:im/alice'))
})

test('while Redis is away each node counts by itself, a bounded number of keys, and nothing of it is a credit', {
  skip,
}, async t => {
  const server = await RedisServer.start(t)
  const a = await join(t, server.url, 'a', 2)
  for (let i = 0; i < 9; i++) await a.counter.take('account:im/alice')
  await server.kill()
  for (let i = 0; i < 10; i++) await a.counter.take('account:im/alice')
  await refusal(a.counter.take('account:im/alice'))
  for (const other of ['bob', 'carol'] as const) await a.counter.take(`account:im/${other}`)
  // Alice is the oldest of three.
  await a.counter.take('account:im/alice')

  await server.start()
  await until(() => a.redis.leases.healthy, 'Redis is back')
  for (let i = 0; i < 5; i++) await a.counter.giveBack('account:im/alice')
  for (let i = 0; i < 10; i++) await a.counter.take('account:im/alice')
  await refusal(a.counter.take('account:im/alice'))
})

test('while Redis is silent an attempt waits for a moment, and is counted', { skip }, async t => {
  const server = await RedisServer.start(t)
  const { counter } = await join(t, server.url, 'a')
  server.pause()
  const from = performance.now()
  await counter.take('account:im/alice')
  assert.ok(performance.now() - from < 2_500)
  for (let i = 0; i < 9; i++) await counter.take('account:im/alice')
  await refusal(counter.take('account:im/alice'))
})
