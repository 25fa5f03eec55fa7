/** One damage of each kind that the database's engine would open over in silence, and what is said of it. */
import assert from 'node:assert/strict'
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { put, table } from '../core/ports.ts'
import { readManifest } from '../storage/level/manifest.ts'
import { CannotOpen, openStorage, type StorageObserver } from '../storage/open.ts'
import { OPS, range, says, TestClock } from './contracts/ground.ts'
import { endsOf, imageOf } from './support/damage.ts'
import { place } from './support/level.ts'
import { TestServer } from './support/server.ts'

const NOTES = table<{ text: string }>('notes')

const open = (directory: string, observer: Partial<StorageObserver> = {}) =>
  openStorage({ engine: 'level', directory, fsync: true, lowWaterBytes: 0, clock: new TestClock(), observer })

/** Closed in the middle of its life: some of it in tables, the rest in the write-ahead log. */
async function made(t: TestContext): Promise<string> {
  const directory = await place(t)
  for (const round of range(1, 3)) {
    await using storage = await open(directory)
    await Promise.all(
      range(1, 300).map(n => storage.log.append(OPS, says(`${round}-${n} ${'x'.repeat(n)}`, `${round}-${n}`))),
    )
    for (const n of range(1, 20)) await storage.records.write([put(NOTES, 'p', `${n}`, { text: `${round}` })])
  }
  return directory
}

/** Paths of the parts of a database. */
async function parts(directory: string) {
  const level = join(directory, 'level')
  const manifest = await readManifest(level)
  assert.ok(manifest)
  const [log = '', ...more] = manifest.logs
  assert.deepEqual(more, [])
  const [table = ''] = manifest.tables.map(({ file }) => file)
  return { level, log, table, current: join(level, 'CURRENT'), manifest: manifest.named[1] ?? '' }
}
type Parts = Awaited<ReturnType<typeof parts>>

async function flip(file: string, from: (bytes: Buffer) => number): Promise<void> {
  const bytes = await readFile(file)
  const at = from(bytes)
  bytes[at] = (bytes[at] ?? 0) ^ 4
  await writeFile(file, bytes)
}
/** Of a table, where the last part of it that its footer names begins. */
const filterOf = (bytes: Buffer) => bytes.lastIndexOf('filter.leveldb') - 40

// biome-ignore format: a table, a row a line
const CASES: [name: string, damage: (parts: Parts) => Promise<unknown>, says: (parts: Parts) => string][] = [
  ['CURRENT is gone', ({ current }) => rm(current), ({ current }) => `file ${current} is missing, though`],
  ['CURRENT is empty', ({ current }) => truncate(current), ({ current }) => `file ${current} is damaged`],
  ['CURRENT names another manifest', ({ current }) => flip(current, () => 12), () => 'is missing, or CURRENT names a wrong one'],
  ['the manifest is gone', ({ manifest }) => rm(manifest), ({ manifest }) => `file ${manifest} is missing`],
  ['the manifest is empty', ({ manifest }) => truncate(manifest), ({ manifest }) => `file ${manifest} is damaged`],
  ['the manifest has a flipped bit', ({ manifest }) => flip(manifest, () => 20), ({ manifest }) => `log ${manifest} is damaged at byte 0, and goes on`],
  ['the end of the manifest has a flipped bit', ({ manifest }) => flip(manifest, bytes => bytes.length - 1), ({ manifest }) => `file ${manifest} is damaged at byte`],
  ['the length of the first record of the manifest is wrong', ({ manifest }) => flip(manifest, () => 5), ({ manifest }) => `log ${manifest} is damaged at byte 0, and goes on`],
  ['the write-ahead log is gone', ({ log }) => rm(log), ({ log }) => `file ${log} is missing`],
  ['the write-ahead log is empty', ({ log }) => truncate(log), () => 'are missing from the end of the database'],
  ['the write-ahead log lost its last write', async ({ log }) => truncate(log, endsOf(await readFile(log)).at(-1)), () => 'are missing from the end of the database'],
  ['the write-ahead log has a wrong length in its last block', async ({ log }) => { const at = endsOf(await readFile(log)).at(-3) ?? 0; await flip(log, () => at + 4) }, ({ log }) => `log ${log} is damaged at byte`],
  ['a table is gone', ({ table }) => rm(table), ({ table }) => `file ${table} is missing`],
  ['a table is cut off', ({ table }) => truncate(table, 2_000), ({ table }) => `file ${table} is damaged: it has 2000 of`],
  ['a table has a flipped bit in its rows', ({ table }) => flip(table, () => 700), ({ table }) => `file ${table} is damaged: the block at byte 0`],
  ['a table has a flipped bit in its filter', ({ table }) => flip(table, filterOf), ({ table }) => `file ${table} is damaged: its filter`],
  ['a table has a flipped bit in its directory', ({ table }) => flip(table, bytes => bytes.length - 60), ({ table }) => `file ${table} is damaged: its directory`],
  ['a table has a flipped bit in its footer', ({ table }) => flip(table, bytes => bytes.length - 48), ({ table }) => `file ${table} is damaged: its footer`],
]

test('what the engine would open over in silence is named', { timeout: 60_000 }, async t => {
  const directory = await made(t)
  for (const [name, damage, says] of CASES) {
    const image = await imageOf(t, directory)
    const its = await parts(image)
    await damage(its)
    await assert.rejects(
      open(image),
      thrown => {
        assert.ok(thrown instanceof CannotOpen, `${name}: ${thrown}`)
        assert.ok(thrown.message.includes(says(its)), `${name}: ${thrown.message}`)
        return true
      },
      name,
    )
  }
})

test('a database that is gone as a whole is not begun anew beside what knows of it', async t => {
  const directory = await made(t)
  await rm(join(directory, 'level'), { recursive: true })
  await assert.rejects(open(directory), /Commits 1 to \d+ are missing from the database: it is empty/)
})

test('the witness of the last commit is only missed when it is right', async t => {
  const directory = await made(t)
  for (const damage of [
    (file: string) => rm(file),
    (file: string) => truncate(file, 9),
    (file: string) => flip(file, () => 15),
  ]) {
    const image = await imageOf(t, directory)
    await damage(join(image, 'last-commit'))
    await using storage = await open(image)
    assert.equal((await storage.log.append(OPS, says('next'))).seq, 901)
  }
})

test('a manifest whose last edit was being written opens as it was before', async t => {
  const directory = await made(t)
  const { manifest } = await parts(directory)
  const bytes = await readFile(manifest)
  await writeFile(manifest, Buffer.concat([bytes, bytes.subarray(0, 30)]))
  await using storage = await open(directory)
  assert.equal((await storage.log.append(OPS, says('next'))).seq, 901)
})

test('a database in use is told as such, whatever its files look like meanwhile', async t => {
  const server = await TestServer.start(t)
  await rm(join(server.dir, 'level', 'CURRENT'))
  await assert.rejects(open(server.dir), /The data directory .* is in use by another process/)
  await server.kill()
  await assert.rejects(open(server.dir), /CURRENT is missing, though/)
  assert.deepEqual((await readdir(server.dir)).sort(), ['control', 'last-commit', 'level', 'owner-password'])
})
