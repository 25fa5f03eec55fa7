/** `im` on a cluster, killed and gone on with: imports, backups, and what is brought back of them. */
import assert from 'node:assert/strict'
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { type Change, put, type Table, table } from '../core/ports.ts'
import { type ItemsBackup, itemBackupsIn, linesOfBackup } from '../server/archive/backups.ts'
import { lineOf } from '../server/archive/lines.ts'
import type { Totals } from '../server/archive/tally.ts'
import type { Item } from '../storage/archive.ts'
import { openRestoration, withArchive } from '../storage/cassandra/tools.ts'
import { openStorage, withArchive as withDirectory } from '../storage/open.ts'
import { allOf } from './contracts/archive.ts'
import { conversation, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { begin } from './support/im.ts'
import { digests, inKeyspace, needs, on, place, settingsOf } from './support/im-cluster.ts'
import { cassandra, keyspaceOf, type Ours, ringOf } from './support/keyspace.ts'

const { hosts, skip } = await cassandra()
const TEXT = '八点见 '.repeat(40)
const NOTES = table<{ text: string }>('notes', undefined, { spread: true })
const TABLES = [NOTES] as readonly Table<never>[]

const lines = (items: readonly Item[]) => items.map(lineOf).sort()
const linesIn = (ours: Ours) => withArchive(needs(ours), async archive => lines(await allOf(archive)))
const group = (n: number) => conversation(`g:g${n}`)

/** Some conversations with messages, and as many notes. */
async function filled(t: TestContext, conversations: number, messages: number): Promise<string> {
  const directory = await place(t)
  const common = { engine: 'level', directory, fsync: false, lowWaterBytes: 0 } as const
  await using storage = await openStorage({ ...common, clock: new TestClock() })
  const { log, records } = storage
  for (const n of range(1, conversations)) {
    await Promise.all(range(1, messages).map(m => log.append(group(n), says(`${m} ${TEXT}`, `c${m}`))))
    const notes: Change[] = [put(NOTES, 'p', `${n}`, { text: TEXT })]
    await records.write(notes)
  }
  return directory
}

test('an import into a keyspace that is killed goes on where it was, and ends with the same digests', {
  skip,
  timeout: 240_000,
}, async t => {
  const directory = await filled(t, 20, 400)
  const file = join(await place(t), 'export')
  const exported = await begin(directory, ['export', file, '--json']).ended
  assert.equal(exported.code, 0, exported.errors)
  const ours = keyspaceOf(t, hosts, { bucketSize: 100 })
  const settings = settingsOf(ours)
  const { child, ended } = begin('/nowhere', ['import', file], '', settings)
  await using ring = await ringOf(ours, 'system')
  const noted = async () => {
    const query = `SELECT unfinished FROM ${ours.keyspace}.settings WHERE id = 1`
    const [row] = await ring.read(query, []).catch(() => [])
    return String(row?.unfinished)
  }
  while (child.exitCode === null && !(await noted()).includes('bytes')) await setImmediate()
  child.kill('SIGKILL')
  assert.equal((await ended).code, null, 'it was caught at it')

  assert.match((await on(settings, 'user', 'list')).errors, /not finished: run it again, or drop the keyspace/)
  const again = await on(settings, 'import', file, '--json')
  assert.equal(again.code, 0, again.out + again.errors)
  const { from, found } = JSON.parse(again.out) as { from: number; found: Totals }
  assert.ok(from > 0 && from < (await stat(file)).size, `from byte ${from}`)
  assert.deepEqual(digests(found), digests(JSON.parse(exported.out)))
  assert.equal((await on(settings, 'import', file, '--verify')).code, 0)
})

/** A keyspace with what a directory holds. */
async function moved(t: TestContext, directory: string): Promise<{ ours: Ours; items: Item[] }> {
  const items = await withDirectory(directory, allOf)
  const ours = keyspaceOf(t, hosts, { bucketSize: 100, tables: TABLES })
  await using restoration = await openRestoration(needs(ours))
  await restoration.put(items, '')
  await restoration.finish()
  return { ours, items }
}

interface Made {
  full: boolean
  chunks: number
  bytes: number
  newChunks: number
  newBytes: number
  from: number
}
async function backedUp(ours: Ours, ...options: string[]): Promise<Made> {
  const { code, out, errors } = await on(settingsOf(ours), 'backup', '--json', ...options)
  assert.equal(code, 0, errors)
  return JSON.parse(out) as Made
}

test('backups of a keyspace hold what came since the one before, and come back with the same digests', {
  skip,
  timeout: 240_000,
}, async t => {
  const { ours, items } = await moved(t, await filled(t, 100, 24))
  const backups = await place(t)
  const first = await backedUp(ours, backups)
  assert.deepEqual([first.full, first.newChunks, first.newBytes], [true, first.chunks, first.bytes])
  {
    await using storage = await inKeyspace(ours)
    for (const n of range(25, 28)) await storage.log.append(group(7), says(`${n}`, `c${n}`))
    await storage.log.append(group(70), recalls(3), { retracts: seq(3) })
    await storage.records.write([put(NOTES, 'p', '90', { text: 'new' })])
  }
  const second = await backedUp(ours, backups)
  assert.ok(!second.full && second.newChunks > 0 && second.newBytes < second.bytes / 2, JSON.stringify(second))
  assert.equal((await stat(join(backups, '0002', 'items'))).size, second.newBytes)
  assert.equal((await stat(join(backups, '0001', 'items'))).mode & 0o777, 0o600)

  const directory = await place(t)
  const before = await begin(directory, ['restore', backups, '--backup', '1']).ended
  assert.equal(before.code, 0, before.out + before.errors)
  assert.match(before.out, /holds what backup 0001 of .* does: 2400 entries of 100 conversations/)
  assert.deepEqual(lines(await withDirectory(directory, allOf)), lines(items))
  const other = keyspaceOf(t, hosts, { bucketSize: 100, tables: TABLES })
  const after = await on(settingsOf(other), 'restore', backups, '--json')
  assert.equal(after.code, 0, after.out + after.errors)
  assert.deepEqual(await linesIn(other), await linesIn(ours))
  assert.match((await on(settingsOf(other), 'restore', backups)).errors, /is there already, with data/)

  const same = await backedUp(ours, backups)
  assert.deepEqual([same.full, same.newChunks, same.bytes], [false, 0, second.bytes])
  await flip(join(backups, '0001', 'items'), first.bytes - 100)
  const absent = keyspaceOf(t, hosts, { bucketSize: 100 })
  const damaged = await on(settingsOf(absent), 'restore', backups)
  assert.deepEqual([damaged.code, /0001\/items is missing or damaged/.test(damaged.errors)], [1, true], damaged.errors)
  assert.match((await on(settingsOf(absent), 'user', 'list')).errors, /^There is no keyspace/, 'nothing was begun')
  assert.ok((await backedUp(ours, backups, '--full')).full)
})

async function flip(file: string, at: number): Promise<void> {
  await using handle = await open(file, 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, at)
  await handle.write(Buffer.from([(byte[0] as number) ^ 1]), 0, 1, at)
}

test('a backup that is killed goes on with what it has, and directories of another kind are refused', {
  skip,
  timeout: 240_000,
}, async t => {
  const source = await filled(t, 40, 100)
  const { ours } = await moved(t, source)
  const backups = await place(t)
  const half = join(backups, 'unfinished', 'items')
  const { child, ended } = begin('/nowhere', ['backup', backups], '', settingsOf(ours))
  const size = async () => (await stat(half).catch(() => undefined))?.size ?? 0
  while (child.exitCode === null && (await size()) < 300_000) await setImmediate()
  child.kill('SIGKILL')
  assert.equal((await ended).code, null, 'it was caught at it')
  const { ino } = await stat(half)
  assert.match((await on(settingsOf(ours), 'restore', backups)).errors, /There is no backup in/)
  const { bytes, from } = await backedUp(ours, backups)
  assert.ok(from > 200_000 && from < bytes, `${from} of ${bytes} bytes`)
  const whole = await stat(join(backups, '0001', 'items'))
  assert.deepEqual([whole.ino, whole.size], [ino, bytes], 'nothing was written twice')
  assert.deepEqual((await readdir(backups)).sort(), ['0001'])
  assert.deepEqual((await readdir(join(backups, '0001'))).sort(), ['backup.json', 'chunks', 'items'])

  const [made = assert.fail()] = await itemBackupsIn(backups)
  const all = await batchesOf(backups, made, 0)
  assert.ok(all.length > 1)
  for (const [nth, { end }] of all.entries())
    assert.deepEqual((await batchesOf(backups, made, end)).flatMap(own), all.slice(nth + 1).flatMap(own))

  const files = await place(t)
  assert.equal((await begin(source, ['backup', files]).ended).code, 0)
  for (const { errors } of [
    await begin(source, ['backup', backups]).ended,
    await on(settingsOf(ours), 'backup', files),
  ])
    assert.match(errors, /has backups of another kind of storage: name another directory/)
  assert.match(
    (await on(settingsOf(ours), 'restore', files)).errors,
    /files of the embedded engine: bring them back with/,
  )
})

async function batchesOf(place: string, made: ItemsBackup, start: number): Promise<{ lines: Buffer[]; end: number }[]> {
  const batches = []
  for await (const batch of linesOfBackup(place, made, start)) batches.push(batch)
  return batches
}
const own = (batch: { lines: Buffer[] }) => batch.lines.map(String)

test('what servers write while a keyspace is read leaves no record ahead of its conversation', {
  skip,
  timeout: 120_000,
}, async t => {
  const ours = keyspaceOf(t, hosts, { bucketSize: 100, tables: TABLES })
  await using storage = await inKeyspace(ours)
  const { log, records } = storage
  await records.write([put(NOTES, 'p', 'k', { text: '' })])
  await log.append(group(1), says('before'))
  const items = await withArchive(needs(ours), async archive => {
    const all: Item[] = []
    for await (const some of archive.items()) {
      if (all.length === 0) {
        await log.append(group(1), says('meanwhile'))
        await log.append(group(2), says('begun meanwhile'))
      }
      all.push(...some)
    }
    return all
  })
  assert.deepEqual(
    items.map(item => `${item.kind} ${'seq' in item ? item.seq : ''}`),
    ['record ', 'conversation 2', 'entry 1', 'entry 2'],
  )
})
