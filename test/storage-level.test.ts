/** The embedded database when writes fail, queues fill, the disk is full, and time goes by. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryLevel } from 'memory-level'
import { put, type Storage } from '../core/ports.ts'
import { Chain } from '../storage/level/chain.ts'
import { Committer } from '../storage/level/committer.ts'
import { Engine, type Level } from '../storage/level/engine.ts'
import { Rows } from '../storage/level/overlay.ts'
import { fault, OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { opened, place } from './support/level.ts'
import { NOTES, saboteur } from './support/saboteur.ts'

test('more than may wait is refused, and what waits is kept', async () => {
  const engine = new Engine(new MemoryLevel<string, Buffer>({ valueEncoding: 'buffer' }))
  const needs = { chain: new Chain(), clock: new TestClock(), soon: setImmediate, fsync: false, observer: {} }
  const committer = new Committer({ engine, disk: { mayOpen: async () => {} }, ...needs })
  const outcomes = { committed: 0, refused: 0 }
  for (let nth = 0; nth < 100_005; nth++)
    committer.add({
      bytes: 1,
      durable: true,
      keys: () => [],
      decide: () => {},
      committed: () => outcomes.committed++,
      refused: () => outcomes.refused++,
    })
  await committer.close()
  assert.deepEqual(outcomes, { committed: 100_000, refused: 5 })
})

test('what lies in memory of a message that was taken back is gone too', async t => {
  const { level, storage } = await opened(t, await place(t))
  const sent = await storage.log.append(OPS, says('secret'))
  await storage.log.append(OPS, recalls(1), { retracts: sent.seq })
  for await (const value of level.values()) assert.ok(!value.includes('secret'))
  const read = await storage.log.read(OPS, { limit: 5 })
  assert.ok(read.every(entry => !Buffer.from(entry.bytes).includes('secret')))
})

test('a reader beside the one who takes back leaves no body in memory', async t => {
  const directory = await place(t)
  const first = await opened(t, directory)
  await Promise.all(range(1, 300).map(n => first.storage.log.append(OPS, says(`secret ${n}`))))
  await first.storage[Symbol.asyncDispose]()
  const { storage } = await opened(t, directory)
  for (const n of range(1, 300)) {
    const recalled = storage.log.append(OPS, recalls(n), { retracts: seq(n) })
    await Promise.all([storage.log.read(OPS, { after: seq(n - 1), limit: 400 }), recalled])
    const [read] = await storage.log.read(OPS, { after: seq(n - 1), limit: 1 })
    assert.ok(read && !Buffer.from(read.bytes).includes('secret'))
  }
})

test('the chain stays short', async () => {
  const level: Level = new MemoryLevel<string, Buffer>({ valueEncoding: 'buffer' })
  const engine = new Engine(level)
  const chain = new Chain()
  await chain.open(engine)
  for (const _ of range(1, 600)) {
    const rows = Object.defineProperty(new Rows(engine), 'bytes', { value: 200_000 })
    chain.add(rows, true)
    rows.keep()
    await engine.write(rows.writes(), true)
    chain.written()
  }
  const links = await level.keys({ gte: 'b\0', lt: 'b\x01' }).all()
  assert.ok(links.length >= 200 && links.length < 400, `${links.length} of 600`)
})

test('a full disk refuses writes, not reads, and is noticed when it has room again', async t => {
  let free = 1_000
  const { storage, clock } = await opened(t, await place(t), { lowWaterBytes: 500, free: async () => free })
  await storage.log.append(OPS, says('one'))
  free = 400
  clock.time += 5_000
  await storage.log.append(OPS, says('looked at while this one is written'))
  await assert.rejects(storage.log.append(OPS, says('two')), fault('storage-full'))
  await assert.rejects(storage.records.write([put(NOTES, 'p', 'k', { text: '' })]), fault('storage-full'))
  await assert.rejects(storage.ready(), fault('storage-full'))
  assert.equal((await storage.log.read(OPS, { limit: 5 })).length, 2)
  free = 1_000
  clock.time += 5_000
  await assert.rejects(storage.log.append(OPS, says('two')), fault('storage-full'))
  await storage.ready()
  assert.equal((await storage.log.append(OPS, says('two'))).seq, 3)
})

const MIB = 1024 * 1024
test('what fails on a disk without room can be read until there is room, and is opened again only then', async t => {
  let free = 1_000 * MIB
  const { level, storage, clock } = await opened(t, await place(t), {
    lowWaterBytes: 500 * MIB,
    free: async () => free,
  })
  const control = saboteur(level)
  await storage.log.append(OPS, says('one'))
  const open = level.open.bind(level)
  let openings = 0
  Object.assign(level, { open: () => ++openings && open() })
  free = 1 * MIB
  control.mode = 'fails'
  await assert.rejects(storage.log.append(OPS, says('two')), fault('log-unavailable'))
  for (const text of ['two', 'three']) {
    await assert.rejects(storage.log.append(OPS, says(text)), fault('storage-full'))
    assert.equal((await storage.log.read(OPS, { limit: 5 })).length, 1)
    assert.equal(await storage.records.get(NOTES, 'p', 'k'), undefined)
    clock.time += 5_000
  }
  assert.equal(openings, 0)
  free = 1_000 * MIB
  control.mode = 'works'
  await storage.ready()
  assert.equal((await storage.log.append(OPS, says('two'))).seq, 2)
  assert.equal(openings, 1)
})

test('a clientMessageId is forgotten after 30 days and 10,000 entries, not before', async t => {
  const { level, storage, clock } = await opened(t, await place(t))
  const many = (from: number, to: number) =>
    Promise.all(range(from, to).map(n => storage.log.append(OPS, says(`${n}`, n % 2 ? `c-${n}` : undefined))))
  const known = () => level.keys({ gte: 'd\0', lt: 'd\x01' }).all()
  await many(1, 10_200)
  assert.equal((await known()).length, 5_100, 'none is old enough')
  clock.time += 31 * 86_400_000
  for (const step of range(0, 9)) await many(10_201 + step * 64, 10_264 + step * 64)
  await settled(storage)
  const keys = await known()
  const positions = keys.map(key => Number(key.split('c-')[1]))
  const oldest = Math.min(...positions)
  assert.ok(oldest > 400 && oldest <= 841, `the oldest known is ${oldest}`)
  assert.equal((await storage.log.append(OPS, says('1', 'c-1'))).repeated, false)
  assert.equal((await storage.log.append(OPS, says('10199', 'c-10199'))).seq, 10_199)
})

/** What works beside the appends has had its turn. */
async function settled(storage: Storage): Promise<void> {
  for (const _ of range(1, 20)) await storage.records.write([put(NOTES, 'p', 'k', { text: '' })])
}
