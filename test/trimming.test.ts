/** The embedded database while old entries are removed: what stays in its rows and files, and what a crash leaves. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Storage } from '../core/ports.ts'
import type { Level } from '../storage/level/engine.ts'
import { entryKey, seqOf } from '../storage/level/rows.ts'
import { inspect } from '../storage/open.ts'
import { conversation, fault, OPS, range, says, seq } from './contracts/ground.ts'
import { opened, place } from './support/level.ts'

const DAY = 86_400_000

const rowsOf = (level: Level, letter: string) => level.keys({ gte: `${letter}\0`, lt: `${letter}\x01` }).all()
const many = (storage: Storage, from: number, to: number) =>
  Promise.all(range(from, to).map(n => storage.log.append(OPS, says(`secret ${n}`, n % 2 ? `c-${n}` : undefined))))
/** All rows of removed entries are gone. */
async function removed(level: Level): Promise<void> {
  while ((await rowsOf(level, 'o')).length > 0) await new Promise(setImmediate)
}
async function flawsOf(t: TestContext, directory: string): Promise<unknown[]> {
  const { flaws, broken } = await inspect(directory, [])
  t.diagnostic(`${flaws.length} flaws`)
  return [...broken, ...flaws]
}

test('of a removed entry no body stays, and a row only where a repeat must be found', async t => {
  const directory = await place(t)
  const { level, storage } = await opened(t, directory)
  await many(storage, 1, 400)
  await storage.log.trim(OPS, seq(301))
  await removed(level)
  const left = await rowsOf(level, 'e')
  assert.deepEqual(
    left.map(seqOf).filter(at => at <= 300),
    range(1, 300).filter(n => n % 2),
  )
  for await (const value of level.values({ lt: entryKey(OPS, 301) })) {
    assert.ok(!value.includes('secret'))
    assert.ok(value.length < 100, `${value.length} bytes`)
  }
  await storage[Symbol.asyncDispose]()
  assert.deepEqual(await flawsOf(t, directory), [])
})

test('what a crash leaves of removed entries goes after the next opening', async t => {
  const directory = await place(t)
  const before = await opened(t, directory)
  await many(before.storage, 1, 2_000)
  await before.storage.log.trim(OPS, seq(1_500))
  await before.storage[Symbol.asyncDispose]()
  assert.deepEqual(await flawsOf(t, directory), [])
  const { level, storage } = await opened(t, directory)
  const found = (await storage.log.read(OPS, { limit: 1_000 })).map(entry => entry.seq)
  assert.deepEqual([await rowsOf(level, 'o'), found], [['o\0im/g:ops'], range(1_500, 2_000)])
  await removed(level)
  assert.equal((await rowsOf(level, 'e')).length, 501 + 750)
  assert.equal((await storage.log.append(OPS, says('secret 7', 'c-7'))).entry.retracted, 'retention')
  await storage[Symbol.asyncDispose]()
  assert.deepEqual(await flawsOf(t, directory), [])
})

test('whoever trims while others do, or while rows still go, leaves nothing behind', async t => {
  const directory = await place(t)
  const { level, storage } = await opened(t, directory)
  await many(storage, 1, 1_000)
  await Promise.all(range(1, 20).map(n => storage.log.trim(OPS, seq(n * 20))))
  for (const n of range(21, 45)) {
    await storage.log.trim(OPS, seq(n * 20))
    for (const _ of range(1, n % 5)) await new Promise(setImmediate)
  }
  await removed(level)
  assert.equal((await rowsOf(level, 'e')).length, 101 + 450)
  await storage[Symbol.asyncDispose]()
  assert.deepEqual(await flawsOf(t, directory), [])
})

test('what finds repeats of removed entries is forgotten after 30 days and 10,000 entries, not before', async t => {
  const directory = await place(t)
  const { level, storage, clock } = await opened(t, directory)
  await many(storage, 1, 10_200)
  await storage.log.trim(OPS, seq(5_001))
  await removed(level)
  clock.time += 31 * DAY
  for (const step of range(0, 9)) await many(storage, 10_201 + step * 64, 10_264 + step * 64)
  while ((await storage.log.append(OPS, says('?'))) && (await rowsOf(level, 'd')).some(key => key.endsWith('c-601')));
  const oldest = Math.min(...(await rowsOf(level, 'e')).map(seqOf))
  const known = Math.min(...(await rowsOf(level, 'd')).map(key => Number(key.split('c-')[1])))
  assert.equal(oldest, known)
  assert.ok(oldest > 601 && oldest <= 1_100, `the oldest known is ${oldest}`)
  assert.equal((await storage.log.append(OPS, says('secret 1', 'c-1'))).repeated, false)
  assert.equal((await storage.log.append(OPS, says('secret 4999', 'c-4999'))).seq, 4_999)
  await storage[Symbol.asyncDispose]()
  assert.deepEqual(await flawsOf(t, directory), [])
})

test('the disk gets back what removed entries took, of one long conversation and of many short ones', async t => {
  const directory = await place(t)
  const { level, storage } = await opened(t, directory)
  const bytes = () =>
    readdirSync(join(directory, 'level')).reduce((sum, file) => {
      const at = statSync(join(directory, 'level', file), { throwIfNoEntry: false })
      return sum + (at?.size ?? 0)
    }, 0)
  const text = () => randomBytes(3_000).toString('base64')
  const all = range(0, 199).map(n => conversation(`g:${n < 100 ? 'long' : n}`))
  for (const _ of range(1, 60)) await Promise.all(all.map(key => storage.log.append(key, says(text()))))
  const before = bytes()
  assert.ok(before > 45e6)
  for (const key of new Set(all)) {
    const [tail] = await storage.log.tails([key])
    await storage.log.trim(key, tail?.seq || seq(1))
  }
  await removed(level)
  // Below this much it waits for more.
  while (bytes() > 16e6 + 6e6) await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal((await storage.log.read(all[0] ?? OPS, { limit: 10 })).length, 1)
  await storage[Symbol.asyncDispose]()
})

test('a removal whose write fails is done by the next one, and goes on by itself once writes succeed', async t => {
  const directory = await place(t)
  const { level, storage, clock } = await opened(t, directory)
  await many(storage, 1, 1_000)
  let broken = true
  const begin = level.batch.bind(level) as () => { write(options: object): Promise<void> }
  Object.assign(level, {
    batch() {
      const batch = begin()
      const write = batch.write.bind(batch)
      batch.write = async options => {
        await write(options)
        if (broken) throw new Error('the disk is broken')
      }
      return batch
    },
  })
  await assert.rejects(storage.log.trim(OPS, seq(900)), fault('log-unavailable'))
  clock.time += 1_000
  await assert.rejects(storage.log.append(OPS, says('x')), fault('log-unavailable'))
  broken = false
  clock.time += 1_000
  await storage.ready()
  assert.equal((await storage.log.tails([OPS]))[0]?.first, 900)
  await removed(level)
  assert.equal((await rowsOf(level, 'e')).filter(key => seqOf(key) < 900).length, 450)
  await storage[Symbol.asyncDispose]()
})
