/** The embedded database when something of it is damaged, missing, torn off, or not ours. */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ClassicLevel } from 'classic-level'
import { put, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { Level } from '../storage/level/engine.ts'
import { CannotOpen } from '../storage/level/meta.ts'
import { openDirectory, openStorage, type StorageObserver } from '../storage/open.ts'
import { conversation, OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { opened, place } from './support/level.ts'

const NOTES = table<{ text: string }>('notes', { byText: row => ({ partition: 'all', sort: row.text }) })

/** A row with one bit turned, behind the storage's back. */
async function flip(level: Level, key: string, at = -3): Promise<void> {
  const value = Buffer.from((await level.get(key)) ?? assert.fail(`no row ${JSON.stringify(key)}`))
  const where = at < 0 ? value.length + at : at
  value[where] = (value[where] ?? 0) ^ 0x10
  await level.put(key, value)
}
const damage = (thrown: unknown, key: string) =>
  thrown instanceof Fault && thrown.code === 'log-unavailable' && String(thrown.cause).includes(JSON.stringify(key))

test('a damaged or missing row is told with its key, never left out', async t => {
  const directory = await place(t)
  const first = await opened(t, directory)
  await Promise.all(range(1, 20).map(n => first.storage.log.append(OPS, says(`${n}`, `c-${n}`))))
  await first.storage.log.append(conversation('g:x'), says('x'))
  await first.storage.records.write(range(1, 3).map(n => put(NOTES, 'p', `${n}`, { text: `${n}` })))
  await first.storage[Symbol.asyncDispose]()
  const { level, storage } = await opened(t, directory)
  const { log, records } = storage
  const rejects = (call: Promise<unknown>, key: string) => assert.rejects(call, thrown => damage(thrown, key))

  await flip(level, 'e\0im/g:ops\0a7')
  await level.del('e\0im/g:ops\0b12')
  await rejects(log.read(OPS, { limit: 10 }), 'e\0im/g:ops\0a7')
  await rejects(log.read(OPS, { limit: 10, before: seq(9), reverse: true }), 'e\0im/g:ops\0a7')
  await rejects(log.get([{ conversation: OPS, seq: seq(7) }]), 'e\0im/g:ops\0a7')
  await rejects(log.append(OPS, recalls(7), { retracts: seq(7) }), 'e\0im/g:ops\0a7')
  await rejects(log.append(OPS, says('7', 'c-7')), 'e\0im/g:ops\0a7')
  await rejects(log.read(OPS, { after: seq(7), limit: 10 }), 'e\0im/g:ops\0b12')
  await rejects(log.get([{ conversation: OPS, seq: seq(12) }]), 'e\0im/g:ops\0b12')
  assert.equal((await log.read(OPS, { after: seq(12), limit: 10 })).length, 8)
  await level.put('e\0im/g:ops\0b12', Buffer.from((await level.get('e\0im/g:ops\0b13')) ?? ''))
  await rejects(log.read(OPS, { after: seq(10), limit: 5 }), 'e\0im/g:ops\0b12')

  await flip(level, 't\0im/g:x')
  await rejects(log.tails([conversation('g:x')]), 't\0im/g:x')
  await rejects(log.append(conversation('g:x'), says('y')), 't\0im/g:x')
  await flip(level, 'd\0im/g:ops\0alice\0c-3')
  await rejects(log.append(OPS, says('3', 'c-3')), 'd\0im/g:ops\0alice\0c-3')
  await flip(level, 'r\0notes\0p\x002')
  await rejects(records.get(NOTES, 'p', '2'), 'r\0notes\0p\x002')
  await rejects(records.scan(NOTES, 'p', { limit: 5 }), 'r\0notes\0p\x002')
  await rejects(records.write([put(NOTES, 'p', '2', { text: 'new' })]), 'r\0notes\0p\x002')
  await level.del('r\0notes\0p\x003')
  await rejects(records.scan(NOTES, 'all', { index: 'byText', prefix: '3', limit: 5 }), 'r\0notes\0p\x003')
  assert.equal((await log.append(OPS, says('more'))).seq, 21, 'what is whole goes on')
})

/** The files as a crash now would leave them. */
async function crashImage(t: TestContext, directory: string): Promise<string> {
  const image = await place(t)
  await cp(directory, image, { recursive: true })
  return image
}
const open = (directory: string, observer: Partial<StorageObserver> = {}) =>
  openStorage({ engine: 'level', directory, fsync: true, lowWaterBytes: 0, clock: new TestClock(), observer })

test('a hole that the engine opens over in silence is found, and named', async t => {
  const directory = await place(t)
  const { storage } = await opened(t, directory)
  for (const n of range(1, 400)) await storage.log.append(OPS, says(`${n} ${'x'.repeat(200)}`))
  const whole = await open(await crashImage(t, directory))
  assert.equal((await whole.log.tails([OPS]))[0]?.seq, 400)
  await whole[Symbol.asyncDispose]()

  const image = await crashImage(t, directory)
  const log = await logOf(image)
  const bytes = await readFile(log)
  const holes = [40_000, 70_000, bytes.length - 1_000, bytes.length - 32_000].map(
    at => [at, flipped(bytes, at)] as const,
  )
  for (const [at, damaged] of holes) {
    await writeFile(log, damaged)
    const says = /^The database's log .* is damaged at byte \d+, and goes on at byte \d+/
    await assert.rejects(open(image), thrown => thrown instanceof CannotOpen && says.test(thrown.message), `at ${at}`)
  }
  // What the engine makes of it when nobody looks at its log: a clean opening, without some of the commits.
  await writeFile(log, flipped(bytes, 40_000))
  const unseen = new ClassicLevel<string, Buffer>(join(image, 'level'), { valueEncoding: 'buffer' })
  await unseen.open()
  await unseen.close()
  await assert.rejects(open(image), thrown => {
    assert.ok(thrown instanceof CannotOpen)
    assert.match(thrown.message, /^Commits \d+ to \d+ of \d+ are missing from the database/)
    return true
  })
})

test('an end that is torn off is left out, and told', async t => {
  const directory = await place(t)
  const { storage } = await opened(t, directory)
  for (const n of range(1, 50)) await storage.log.append(OPS, says(`${n} ${'x'.repeat(200)}`))
  const bytes = await readFile(await logOf(directory))
  const ends = [
    [bytes, 50, 0],
    [bytes.subarray(0, -5), 49, 1],
    [flipped(bytes, bytes.length - 5), 49, 1],
    [Buffer.concat([bytes.subarray(0, -5), Buffer.alloc(40_000)]), 49, 1],
    [Buffer.concat([bytes, Buffer.alloc(3)]), 50, 1],
  ] as const
  for (const [end, expected, told] of ends) {
    const image = await crashImage(t, directory)
    await writeFile(await logOf(image), end)
    const torn: unknown[] = []
    const storage = await open(image, { tornWrite: at => torn.push(at) })
    assert.deepEqual([(await storage.log.tails([OPS]))[0]?.seq, torn.length], [expected, told])
    assert.equal((await storage.log.append(OPS, says('next'))).seq, expected + 1)
    await storage[Symbol.asyncDispose]()
  }
})

test('a torn end may have whole records behind missing ones, unless they say that something durable is missing', async t => {
  const directory = await place(t)
  const { storage } = await opened(t, directory)
  for (const n of range(1, 50)) await storage.log.append(OPS, says(`${n}`))
  const durable = (await readFile(await logOf(directory))).length
  for (const n of range(1, 3))
    await storage.records.write([put(NOTES, 'p', `${n}`, { text: `${n}` })], { durable: false })
  // One commit, of many records of the engine's log.
  await Promise.all(range(51, 100).map(n => storage.log.append(OPS, says(`${n} ${'x'.repeat(4_000)}`))))
  const torn = await readFile(await logOf(directory))
  assert.ok(torn.length > durable + 150_000)
  await storage.log.append(OPS, says('101'))
  const more = await readFile(await logOf(directory))

  for (const [bytes, at, expected] of [
    [torn, durable + 10, [100, 50]],
    [torn, durable + 40_000, [50]],
    [torn, durable + 100_000, [50]],
    [more, durable + 10, []],
    [more, durable + 100_000, []],
    [torn, durable - 100, []],
  ] as const) {
    const image = await crashImage(t, directory)
    await writeFile(await logOf(image), Buffer.from(bytes).fill(0, at, at + 512))
    if (expected.length === 0) await assert.rejects(open(image), CannotOpen, `at ${at}`)
    else {
      const storage = await open(image)
      const end = (await storage.log.tails([OPS]))[0]?.seq ?? 0
      assert.ok((expected as readonly number[]).includes(end), `${end} at ${at}`)
      assert.equal((await storage.log.read(OPS, { limit: 200 })).length, end)
      await storage[Symbol.asyncDispose]()
    }
  }
})

test('a database that was half made when the power went is made anew', async t => {
  const directory = await place(t)
  const half = join(directory, 'level.new')
  await mkdir(half)
  await writeFile(join(half, 'CURRENT'), 'MANIFEST-000001\n')
  await writeFile(join(half, 'MANIFEST-000001'), '')
  const storage = await open(directory)
  assert.equal((await storage.log.append(OPS, says('first'))).seq, 1)
  await storage[Symbol.asyncDispose]()
  assert.deepEqual((await readdir(directory)).sort(), ['last-commit', 'level'])
})

async function logOf(directory: string): Promise<string> {
  const files = await readdir(join(directory, 'level'))
  return join(directory, 'level', files.find(name => name.endsWith('.log')) ?? assert.fail('no write-ahead log'))
}
function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

test('only what was not to be durable may be missing', async t => {
  const directory = await place(t)
  const first = await opened(t, directory)
  for (const n of range(1, 6)) {
    const durable = n !== 3 && n !== 4
    await first.storage.records.write([put(NOTES, 'p', `${n}`, { text: `${n}` })], { durable })
  }
  await first.level.close()
  // Opening took the first number.
  for (const [missing, opens] of [
    [[4, 5], true],
    [[5], true],
    [[3], false],
    [[4, 5, 6], false],
  ] as const) {
    const image = await crashImage(t, directory)
    const level = await openDirectory(image)
    for (const number of missing) await level.del(`b\0a${number}`)
    await level.close()
    if (opens) await (await open(image))[Symbol.asyncDispose]()
    else await assert.rejects(open(image), CannotOpen)
  }
})

test('a database of another format, shape or maker is refused', async t => {
  const directory = await place(t)
  await (await open(directory))[Symbol.asyncDispose]()
  const refused = async (change: (level: Level, meta: Buffer) => Promise<void>, says: RegExp) => {
    const image = await crashImage(t, directory)
    const level = await openDirectory(image)
    await change(level, Buffer.from((await level.get('m')) ?? ''))
    await level.close()
    await assert.rejects(open(image), thrown => thrown instanceof CannotOpen && says.test(thrown.message))
  }
  await refused(
    (level, meta) => level.put('m', Buffer.concat([meta.subarray(0, 4), Buffer.of(9), meta.subarray(5)])),
    /format 9/,
  )
  await refused(level => flip(level, 'm'), /damaged/)
  await refused(async level => {
    await level.del('m')
    await level.put('somebody', Buffer.from('else'))
  }, /did not make/)
})
