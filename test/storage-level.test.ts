/** The embedded database when things go wrong: failing writes, damage, holes, other formats, a full disk. */
import assert from 'node:assert/strict'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { put, type Storage, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { Chain } from '../storage/level/chain.ts'
import { Committer } from '../storage/level/committer.ts'
import { Engine, type Level } from '../storage/level/engine.ts'
import { CannotOpen } from '../storage/level/meta.ts'
import { type LevelNeeds, openOver } from '../storage/level/open.ts'
import { openDirectory, openStorage } from '../storage/open.ts'
import { conversation, fault, OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'

const NOTES = table<{ text: string }>('notes', { byText: row => ({ partition: 'all', sort: row.text }) })

async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'storage-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** Storage whose database lies open beside it. */
async function opened(t: TestContext, directory: string, more: Partial<LevelNeeds> = {}) {
  const level = await openDirectory(directory)
  t.after(() => level.close())
  const clock = new TestClock()
  const free = async () => 1e12
  const storage = await openOver(level, { clock, fsync: false, lowWaterBytes: 0, free, ...more })
  return { level, storage, clock }
}

/** Makes every write of the database fail while `mode` says so. */
function saboteur(level: Level) {
  const control = { mode: 'works' as 'works' | 'fails' | 'writes and fails', refused: 0 }
  const batch = level.batch.bind(level) as () => ReturnType<Level['batch']>
  Object.assign(level, {
    batch() {
      const made = batch()
      const write = made.write.bind(made)
      return Object.assign(made, {
        async write(options: object) {
          if (control.mode === 'works') return write(options)
          control.refused++
          if (control.mode === 'writes and fails') await write(options)
          else await made.close()
          throw new Error('the disk is broken')
        },
      })
    },
  })
  return control
}

for (const mode of ['fails', 'writes and fails'] as const)
  test(`while the database ${mode} nothing is acknowledged, and every repeat is stored once`, async t => {
    const { level, storage, clock } = await opened(t, await place(t))
    const control = saboteur(level)
    const heard: string[] = []
    storage.log.follow((key, entry) => heard.push(`${key} ${entry.entry.clientMessageId}`))
    let acknowledged = 0
    const send = async (sender: number) => {
      for (let nth = 0; nth < 20; nth++) {
        const draft = says(`${nth}`, `${sender}-${nth}`)
        const changes = () => [put(NOTES, `${sender}`, `${nth}`, { text: 'x' })]
        for (;;) {
          try {
            await storage.log.append(conversation(`g:${sender % 3}`), draft, { changes })
            break
          } catch (thrown) {
            fault('log-unavailable')(thrown)
            // Opening the database anew is not tried at every turn.
            clock.time += 50
          }
        }
        // The rest of the last good batch may still be told; and what failed after it was written is found stored.
        assert.ok(control.mode !== 'fails' || control.refused === 0, 'acknowledged while writes fail')
        if (++acknowledged === 60) control.mode = mode
      }
    }
    const senders = range(1, 9).map(send)
    while (control.refused < 5) await new Promise(setImmediate)
    await assert.rejects(storage.ready(), fault('log-unavailable'))
    assert.ok(acknowledged < 180)
    control.mode = 'works'
    await Promise.all(senders)
    await storage.ready()
    assert.equal(acknowledged, 180)
    const stored: string[] = []
    for (const id of [0, 1, 2]) {
      const entries = await storage.log.read(conversation(`g:${id}`), { limit: 1_000 })
      assert.deepEqual(
        entries.map(entry => entry.seq),
        range(1, 60),
      )
      stored.push(...entries.map(entry => `im/g:${id} ${entry.entry.clientMessageId}`))
    }
    assert.equal(new Set(stored).size, 180)
    for (const id of [0, 1, 2]) {
      const of = (lines: string[]) => lines.filter(line => line.startsWith(`im/g:${id} `))
      assert.deepEqual(of(heard), of(stored), 'followers heard all of it, once, in order')
    }
    for (const sender of range(1, 9)) {
      const rows = await storage.records.scan(NOTES, `${sender}`, { limit: 100 })
      assert.ok(rows.length === 20 && rows.every(row => row.version === 1))
    }
  })

test('an index and a database that cannot be opened again stay in step with what is told', async t => {
  const { level, storage, clock } = await opened(t, await place(t))
  const control = saboteur(level)
  await storage.records.write([put(NOTES, 'p', 'k', { text: 'one' })])
  control.mode = 'fails'
  await assert.rejects(storage.records.write([put(NOTES, 'p', 'k', { text: 'two' })]), fault('log-unavailable'))
  const open = level.open.bind(level)
  Object.assign(level, { open: () => Promise.reject(new Error('no such directory')) })
  await assert.rejects(storage.records.write([put(NOTES, 'p', 'k', { text: 'two' })]), fault('log-unavailable'))
  await assert.rejects(storage.records.get(NOTES, 'p', 'k'), fault('log-unavailable'))
  Object.assign(level, { open })
  control.mode = 'works'
  await assert.rejects(storage.ready(), fault('log-unavailable'), 'it is not opened over and over')
  clock.time += 1_000
  await storage.ready()
  assert.equal((await storage.records.get(NOTES, 'p', 'k'))?.version, 1)
  assert.equal((await storage.records.scan(NOTES, 'all', { index: 'byText', limit: 5 }))[0]?.row.text, 'one')
})

test('more than may wait is refused, and what waits is kept', async () => {
  const engine = new Engine((await import('memory-level')).MemoryLevel.prototype as never)
  const needs = { chain: new Chain(), clock: new TestClock(), soon: setImmediate, fsync: false, observer: {} }
  const committer = new Committer({ engine, ...needs })
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

test('what lies in memory of a message that was taken back is gone too', async t => {
  const { level, storage } = await opened(t, await place(t))
  const sent = await storage.log.append(OPS, says('secret'))
  await storage.log.append(OPS, recalls(1), { retracts: sent.seq })
  for await (const value of level.values()) assert.ok(!value.includes('secret'))
  const read = await storage.log.read(OPS, { limit: 5 })
  assert.ok(read.every(entry => !Buffer.from(entry.bytes).includes('secret')))
})

/** The files as a crash now would leave them. */
async function crashImage(t: TestContext, directory: string): Promise<string> {
  const image = await place(t)
  await cp(directory, image, { recursive: true })
  return image
}
const open = (directory: string) =>
  openStorage({ engine: 'level', directory, fsync: true, lowWaterBytes: 0, clock: new TestClock() })

test('a hole that the engine opens over in silence is found, and named', async t => {
  const directory = await place(t)
  const { storage } = await opened(t, directory)
  for (const n of range(1, 400)) await storage.log.append(OPS, says(`${n} ${'x'.repeat(200)}`))
  const whole = await open(await crashImage(t, directory))
  assert.equal((await whole.log.tails([OPS]))[0]?.seq, 400)
  await whole[Symbol.asyncDispose]()

  const image = await crashImage(t, directory)
  const files = await readdir(join(image, 'level'))
  const file = join(image, 'level', files.find(name => name.endsWith('.log')) ?? assert.fail('no write-ahead log'))
  const bytes = await readFile(file)
  bytes[40_000] = (bytes[40_000] ?? 0) ^ 1
  await writeFile(file, bytes)
  await assert.rejects(open(image), thrown => {
    assert.ok(thrown instanceof CannotOpen)
    assert.match(thrown.message, /^Commits \d+ to \d+ of \d+ are missing from the database/)
    return true
  })
})

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

test('the chain stays short', async t => {
  const { level, storage } = await opened(t, await place(t))
  const row = { text: 'x'.repeat(200_000) }
  for (const _ of range(1, 600)) await storage.records.write([put(NOTES, 'p', 'k', row)], { durable: false })
  const links = await level.keys({ gte: 'b\0', lt: 'b\x01' }).all()
  assert.ok(links.length >= 64 && links.length < 400, `${links.length} of 600`)
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
