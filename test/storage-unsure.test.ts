/** The embedded database where a write fails and may be there all the same: only what is known to be durable is read. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { put } from '../core/ports.ts'
import { conversation, fault, OPS, range, says, seq } from './contracts/ground.ts'
import { opened, place } from './support/level.ts'
import { NOTES, saboteur } from './support/saboteur.ts'

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

/** One message of an earlier opening, so that the caches of this one are empty. */
async function reopenedWithOne(t: TestContext) {
  const directory = await place(t)
  const before = await opened(t, directory)
  await before.storage.log.append(OPS, says('1'))
  await before.storage[Symbol.asyncDispose]()
  return opened(t, directory)
}

test('what is on disk and not known to be durable is read by nobody', async t => {
  const { level, storage, clock } = await reopenedWithOne(t)
  const { log } = storage
  let written: () => void = () => {}
  let outcome: Promise<void> = Promise.resolve()
  const begin = level.batch.bind(level) as () => { write(options: object): Promise<void> }
  Object.assign(level, {
    batch() {
      const batch = begin()
      const write = batch.write.bind(batch)
      batch.write = async options => {
        await write(options)
        written()
        await outcome
      }
      return batch
    },
  })
  const seen = async () => ({
    read: (await log.read(OPS, { limit: 10 })).map(entry => entry.seq),
    tail: (await log.tails([OPS]))[0]?.seq,
    second: (await log.get([{ conversation: OPS, seq: seq(2) }]))[0]?.seq,
  })
  const told: number[] = []
  log.follow((_, entry) => told.push(entry.seq))

  let fail: (error: Error) => void = () => {}
  outcome = new Promise((_, reject) => {
    fail = reject
  })
  const onDisk = new Promise<void>(resolve => {
    written = resolve
  })
  const appended = log.append(OPS, says('2'))
  await onDisk
  assert.deepEqual(await seen(), { read: [1], tail: 1, second: undefined }, 'while it is being written')
  fail(new Error('the answer is lost'))
  await assert.rejects(appended, { code: 'log-unavailable' })
  assert.deepEqual(await seen(), { read: [1], tail: 1, second: undefined }, 'while it is unknown whether it was')
  assert.deepEqual(told, [])

  outcome = Promise.resolve()
  clock.time += 10_000
  await log.append(OPS, says('3'))
  assert.deepEqual(told, [2, 3])
  assert.deepEqual(await seen(), { read: [1, 2, 3], tail: 3, second: 2 })
})

test('an end that was read before a write failed is not the end when the write turns out to be there', async t => {
  const { level, storage, clock } = await reopenedWithOne(t)
  const { log } = storage
  const control = saboteur(level)
  // The first read is answered late.
  let goOn: () => void = () => {}
  const held = new Promise<void>(resolve => {
    goOn = resolve
  })
  const getMany = level.getMany.bind(level) as (keys: string[]) => Promise<Buffer[]>
  let reads = 0
  Object.assign(level, {
    async getMany(keys: string[]) {
      const found = await getMany(keys)
      if (reads++ === 0) await held
      return found
    },
  })
  const asked = log.tails([OPS])
  control.mode = 'writes and fails'
  await assert.rejects(log.append(OPS, says('2', 'c-2')), fault('log-unavailable'))
  goOn()
  await asked
  control.mode = 'works'
  clock.time += 10_000
  assert.deepEqual((await log.append(OPS, says('2', 'c-2'))).repeated, true)
  assert.equal((await log.append(OPS, says('3'))).seq, 3)
  assert.deepEqual(
    (await log.read(OPS, { limit: 10 })).map(({ entry }) => entry.text),
    ['1', '2', '3'],
  )
})

test('a database that could not be opened again is there for who only reads when it can be', async t => {
  const { level, storage, clock } = await reopenedWithOne(t)
  const control = saboteur(level)
  control.mode = 'fails'
  await assert.rejects(storage.log.append(OPS, says('2')), fault('log-unavailable'))
  // The disk has no room for what is written at an opening.
  const open = level.open.bind(level)
  level.open = () => Promise.reject(new Error('no room'))
  await assert.rejects(storage.log.append(OPS, says('3')), fault('log-unavailable'))
  await assert.rejects(storage.log.read(OPS, { limit: 10 }), fault('log-unavailable'))
  level.open = open
  control.mode = 'works'
  clock.time += 10_000
  assert.equal((await storage.log.read(OPS, { limit: 10 })).length, 1)
  assert.equal(await storage.records.get(NOTES, 'p', 'k'), undefined)
})
