/** The bus by Redis, which goes, comes back empty, is silent, and moves: nobody hangs, and all is whole again by itself. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import type { NodeChange } from '../core/ports.ts'
import { frameOf } from '../storage/redis/frame.ts'
import { hear, text } from './contracts/cluster.ts'
import { range } from './contracts/ground.ts'
import { RedisServer, until } from './support/redis.ts'
import { cut, heldBy, join, LIFE_MS, whole } from './support/redis-nodes.ts'
import { absent } from './support/server.ts'

const skip = await absent('redis-server')
test('a Redis that is killed and comes back empty has everything again', { skip }, async t => {
  const server = await RedisServer.start(t)
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  const [heard, release] = [hear(b.bus, 'x'), a.leases.hold('released while away', '')]
  for (const n of range(1, 2_000)) a.leases.hold(`s:${n}`, 'v', n)
  await Promise.all([a.leases.settled(), b.bus.settled()])
  const changes: NodeChange[] = []
  b.leases.onNodes(change => changes.push(change))

  await server.kill()
  const from = performance.now()
  assert.deepEqual(await Promise.all([b.leases.get(['s:1']), b.leases.nodes()]), [undefined, undefined])
  a.bus.publish('x', text('lost'))
  release()
  a.leases.hold('held while away', 'v')
  await Promise.all([a.leases.settled(), b.bus.settled()])
  assert.ok(performance.now() - from < 1_000, 'nothing waits for a Redis that refuses')
  assert.equal(a.bus.dropped, 1)
  assert.equal(a.bus.healthy || a.leases.healthy, false)

  await server.start()
  await whole(a, b)
  await Promise.all([a.leases.settled(), b.bus.settled()])
  assert.deepEqual(await heldBy(b, 'held while away'), ['a'])
  assert.deepEqual(await heldBy(b, 'released while away'), [])
  const all = await b.leases.get(range(1, 2_000).map(n => `s:${n}`))
  assert.ok(all?.every((holdings, i) => holdings.length === 1 && holdings[0]?.rank === i + 1))
  await until(() => b.missed() > 0, 'b is told')
  a.bus.publish('x', text('heard'))
  assert.deepEqual(await heard.until(1), ['heard'])
  assert.deepEqual(
    changes.flatMap(({ gone }) => gone),
    [],
    'a node that comes back in time was never gone',
  )
  assert.deepEqual([...new Set(a.told.map(({ state }) => state))], ['away', 'back'])
  assert.deepEqual([a.figures().losses, b.figures().losses], [1, 1])
  assert.deepEqual([a.figures().nodesLost, b.figures().nodesLost], [0, 0], 'leases that Redis lost')
})

test('a Redis that was emptied has everything again within one renewal', { skip }, async t => {
  const server = await RedisServer.start(t)
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  a.leases.hold('s', 'v')
  await a.leases.settled()
  await server.ask('FLUSHALL')
  const from = performance.now()
  await until(async () => (await heldBy(b, 's'))?.length === 1, 'it is held again')
  assert.ok(performance.now() - from < LIFE_MS, 'one renewal is a third of a life')
})

test('a silent Redis holds up nobody for longer than a second, and memory stays', { skip }, async t => {
  const server = await RedisServer.start(t)
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  const heard = hear(b.bus, 'x')
  a.leases.hold('s', 'v')
  await Promise.all([a.leases.settled(), b.bus.settled()])
  server.pause()
  for (const _ of [1, 2]) {
    const from = performance.now()
    await Promise.all([a.leases.get(['s']), a.leases.nodes()])
    const tookMs = performance.now() - from
    assert.ok(tookMs < 1_500, `${tookMs} ms`)
  }
  const before = process.memoryUsage().rss
  const message = Buffer.alloc(1_000)
  for (const _ of range(1, 200)) {
    for (const _ of range(1, 1_000)) a.bus.publish('x', message)
    await new Promise(resolve => setImmediate(resolve))
  }
  const grownMiB = (process.memoryUsage().rss - before) / 1024 ** 2
  assert.ok(grownMiB < 100, `200 MB published into silence took ${grownMiB} MiB`)
  assert.ok(a.bus.dropped > 190_000)
  // Long enough for the line of the subscriber to be found dead.
  await until(() => !a.bus.healthy && !b.bus.healthy, 'the lines are given up')
  server.resume()
  await whole(a, b)
  await until(() => b.missed() > 0, 'b is told')
  await b.leases.settled()
  await until(async () => (await heldBy(b, 's'))?.length === 1, 'it is held again')
  const count = heard.heard.length
  a.bus.publish('x', text('heard'))
  await until(() => heard.heard.at(-1) === 'heard', `a message after ${count} before`)
})

test('who listens is told once when its line was lost, and nobody who does not', { skip }, async t => {
  const server = await RedisServer.start(t)
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  const [heard, gone] = [hear(b.bus, 'x'), hear(a.bus, 'x')]
  gone.end()
  await Promise.all([a, b].map(({ bus }) => bus.settled()))
  await cut(server, 'im-subscriber')
  await until(() => b.missed() === 1, 'b is told')
  await whole(a, b)
  a.bus.publish('x', text('heard'))
  await heard.until(1)
  assert.deepEqual([a.missed(), b.missed(), a.bus.dropped], [0, 1, 0])
})

test('when a node could not send, the others are told as soon as it can', { skip }, async t => {
  const server = await RedisServer.start(t)
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  const heard = hear(b.bus, 'x')
  await b.bus.settled()
  await cut(server, 'im-publisher')
  await until(() => !a.bus.healthy, 'a has lost its line')
  await whole(a)
  a.bus.publish('x', text(1))
  await heard.until(1)
  assert.equal(b.missed(), 0, 'nothing was lost')

  await cut(server, 'im-publisher')
  await until(() => !a.bus.healthy, 'a has lost its line')
  a.bus.publish('x', text('lost'))
  await until(() => b.missed() === 1, 'b is told')
  a.bus.publish('x', text(2))
  assert.deepEqual(await heard.until(2), ['1', '2'])
  assert.deepEqual([a.missed(), b.missed(), a.bus.dropped], [0, 1, 1])
})

test('whoever subscribed while Redis was away is told when it is back', { skip }, async t => {
  const server = await RedisServer.start(t)
  await server.kill()
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  const heard = hear(b.bus, 'x')
  await b.bus.settled()
  await server.start()
  await whole(a, b)
  await until(() => b.missed() === 1, 'b is told')
  a.bus.publish('x', text('heard'))
  await heard.until(1)
  assert.deepEqual([a.missed(), b.missed()], [0, 1])
})

test('a message of a line that its publisher gave up does not come after newer ones', { skip }, async t => {
  const server = await RedisServer.start(t)
  const b = await join(t, server.url, 'b')
  const heard = hear(b.bus, 'x')
  await b.bus.settled()
  const raw = new Redis({ port: server.port, host: '127.0.0.1' })
  t.after(() => raw.disconnect())
  const [one, two] = [Buffer.from('publish1'), Buffer.from('publish2')]
  for (const frame of [
    frameOf(one, 2, text('first')),
    frameOf(one, 1, text('late')),
    frameOf(two, 1, text('of another')),
    Buffer.from('no frame'),
    frameOf(one, 3, text('second')),
  ])
    await raw.publish('im:0:c:x', frame)
  assert.deepEqual(await heard.until(3), ['first', 'of another', 'second'])
})

test('a subscriber that reads nothing is cut off, and told when it reads again', { skip }, async t => {
  const server = await RedisServer.start(t)
  const [a, b] = [await join(t, server.url, 'a'), await join(t, server.url, 'b')]
  const heard = hear(b.bus, 'x')
  await b.bus.settled()
  const program = fileURLToPath(new URL('support/listener.js', import.meta.url))
  const slow = spawn(process.execPath, [program, server.url, 'x'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => slow.kill('SIGKILL'))
  await once(slow.stdout, 'data')
  slow.kill('SIGSTOP')
  const message = Buffer.alloc(50_000)
  let most = 0
  for (const n of range(1, 40)) {
    for (const _ of range(1, 50)) a.bus.publish('x', message)
    await heard.until(n * 50)
    most = Math.max(most, await server.info('used_memory'))
  }
  const [said] = [once(slow.stdout, 'data')]
  slow.kill('SIGCONT')
  assert.match(String((await said)[0]), /missed/)
  t.diagnostic(`100 MB past a reader that stands still: at most ${(most / 1e6).toFixed(0)} MB in Redis`)
  assert.ok(most < 60e6, `${most} bytes`)
  assert.deepEqual([a.bus.dropped, b.missed()], [0, 0])
})
