/**
 * Power cuts: a real server under load, every change of its files journalled in order; then the data directory as a cut at
 * some place of the journal may leave it, which must open and hold whatever had been acknowledged by then.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chooseCuts, rebuild } from './power/cuts.ts'
import { Disk, type Record, readJournal } from './power/journal.ts'
import { type Acknowledged, Sender } from './power/load.ts'
import { verify } from './power/verify.ts'
import { Person } from './support/person.ts'
import { Chance, figures, scale, seedOfRun } from './support/proof.ts'
import { absent, TestServer } from './support/server.ts'

/** `CUTS=200 POWER_MIB=400` is the long run. */
const CUTS = scale('CUTS', 40)
/** What is journalled: about half of it is LevelDB's log, the rest tables. */
const JOURNAL_BYTES = scale('POWER_MIB', 100) * 1024 * 1024
/** Of ten, none may find a loss: most fall around the few syncs that are left. */
const CUTS_WITHOUT_FSYNC = 40
/** Every other one ends with kill -9, the others in order. */
const ROUNDS = 6
const SEED = seedOfRun()
/** A recording that a failure has left, whose cut `CUT` is made again. */
const REPLAYS = process.env.RECORDING
const SHIM = fileURLToPath(new URL('../../test/power/shim.c', import.meta.url))
const GROUPS = ['g0', 'g1', 'g2']
const SENDERS = 9
/** Of so many rebuilt directories, one is opened by a real server. */
const SERVER_EVERY = 10

const skip = process.platform === 'linux' ? await absent('cc') : 'it stands on libc of Linux'

interface Recording {
  /** Holds the journal, and what was acknowledged when. */
  directory: string
  records: Record[]
  acknowledged: Acknowledged[]
  /** Bytes of the journal when account and groups were there. */
  ready: number
  key: string
}

test(`${CUTS} power cuts lose nothing that was acknowledged`, { skip, timeout: 3_600_000 }, async t => {
  const recording = await record(t, JOURNAL_BYTES, {})
  const outcome = await cutAll(t, recording, CUTS)
  figures(t, {
    cuts: CUTS,
    acknowledged: outcome.checked,
    lost: outcome.lost.length,
    refusedToOpen: outcome.refused.length,
    tornEnds: outcome.torn,
    openedByServer: outcome.served,
    journalMiB: Math.round((recording.records.at(-1)?.end ?? 0) / 1024 / 1024),
  })
  assert.deepEqual(outcome.refused, [])
  assert.deepEqual(outcome.lost.slice(0, 5), [])
  if (!REPLAYS) await rm(recording.directory, { recursive: true })
})

test('the same cuts find what is lost where nothing is synced', {
  skip: skip || !!REPLAYS,
  timeout: 600_000,
}, async t => {
  const recording = await record(t, JOURNAL_BYTES / 4, { IM_FSYNC: 'off' })
  const outcome = await cutAll(t, recording, CUTS_WITHOUT_FSYNC)
  figures(t, { cutsWithoutFsync: CUTS_WITHOUT_FSYNC, lostWithoutFsync: outcome.lost.length })
  assert.ok(outcome.lost.length > 0, 'these cuts would not see a loss')
  await rm(recording.directory, { recursive: true })
})

// ---- the load ----

/** Runs the server through kills and stops under load. */
async function record(t: TestContext, bytes: number, env: { [name: string]: string }): Promise<Recording> {
  const directory = REPLAYS ?? (await mkdtemp(join(tmpdir(), 'im-power-')))
  const journal = join(directory, 'journal')
  const facts = join(directory, 'facts.json')
  if (!existsSync(facts)) await writeFile(facts, JSON.stringify(await load(t, directory, journal, bytes, env)))
  const known = JSON.parse(await readFile(facts, 'utf8')) as Pick<Recording, 'acknowledged' | 'ready' | 'key'>
  return { directory, records: readJournal(await readFile(journal)), ...known }
}

async function load(
  t: TestContext,
  directory: string,
  journal: string,
  bytes: number,
  env: { [name: string]: string },
) {
  const shim = join(directory, 'shim.so')
  execFileSync('cc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', shim, SHIM, '-ldl', '-lpthread'])
  const server = await TestServer.start(t, { LD_PRELOAD: shim, POWER_JOURNAL: journal, ...env })
  const size = () => statSync(journal).size
  const alice = await server.register('alice')
  for (const group of GROUPS) await alice.group(group)
  const ready = size()
  const chance = new Chance(SEED)
  const groupOf = (sender: number) => GROUPS[sender % GROUPS.length] as string
  const senders = Array.from({ length: SENDERS }, (_, i) => new Sender(alice, groupOf(i), i, chance, size))
  const disk = new Disk()
  let replayed = 0
  for (let round = 1; round <= ROUNDS; round++) {
    if (round > 1) await server.start()
    await Promise.all(senders.map(sender => sender.connect()))
    while (size() < (bytes * round) / ROUNDS) await new Promise(resolve => setImmediate(resolve))
    await (round % 2 === 1 ? kill(server, senders, journal) : stop(server, senders))
    const records = readJournal((await readFile(journal)).subarray(replayed))
    for (const record of records) disk.apply(record)
    replayed += records.at(-1)?.end ?? 0
    await assertSame(disk, server.dir)
  }
  return { acknowledged: senders.flatMap(({ acknowledged }) => acknowledged), ready, key: alice.key }
}

async function stop(server: TestServer, senders: readonly Sender[]): Promise<void> {
  await Promise.all(senders.map(sender => sender.stop()))
  assert.equal(await server.stop(), 0, server.log)
}

/** Within the server's next operation on a file, so that the journal knows all that it did. */
async function kill(server: TestServer, senders: readonly Sender[], journal: string): Promise<void> {
  await writeFile(`${journal}.die`, '')
  await Promise.all(senders.map(({ finished }) => finished))
  await server.kill()
  await rm(`${journal}.die`)
}

/** Nothing has changed the directory past the journal. */
async function assertSame(disk: Disk, directory: string): Promise<void> {
  const found = await readdir(directory, { recursive: true, withFileTypes: true })
  // A socket holds nothing, and writing to it is none of the disk's.
  const kept = found
    .filter(entry => !entry.isSocket())
    .map(entry => relative(directory, join(entry.parentPath, entry.name)))
  assert.deepEqual(kept.sort(), [...disk.names.keys()].sort())
  for (const [path, file] of disk.names)
    if (file) assert.ok(file.now().equals(await readFile(join(directory, path))), `${path} was changed unseen`)
}

// ---- the cuts ----

interface Outcome {
  /** Acknowledged messages that were looked for, of all cuts together. */
  checked: number
  lost: string[]
  refused: string[]
  torn: number
  served: number
}

async function cutAll(t: TestContext, recording: Recording, count: number): Promise<Outcome> {
  const { records, acknowledged } = recording
  const outcome: Outcome = { checked: 0, lost: [], refused: [], torn: 0, served: 0 }
  const chance = new Chance(SEED)
  const disk = new Disk()
  let applied = 0
  for (const [nth, { at, seed }] of (oneCut() ?? chooseCuts(records, count, chance)).entries()) {
    for (; applied < at; applied++) disk.apply(records[applied] as Record)
    const end = records[at - 1]?.end ?? 0
    const before = acknowledged.filter(({ journal }) => journal <= end)
    const again = `RECORDING=${recording.directory} CUT=${at}:${seed} node --test dist/test/power.test.js`
    const image = await mkdtemp(join(tmpdir(), 'im-power-cut-'))
    t.after(() => rm(image, { recursive: true, force: true }))
    try {
      rebuild(disk, image, new Chance(seed))
      const { refused, lost, torn } = await verify(image, GROUPS, before)
      outcome.checked += before.length
      outcome.torn += torn
      if (refused !== undefined) outcome.refused.push(`${refused} ${again}`)
      outcome.lost.push(...lost.map(({ group, text }) => `${group} ${text.slice(0, 12)} ${again}`))
      if (nth % SERVER_EVERY === 0 && end >= recording.ready && refused === undefined && lost.length === 0) {
        await serve(t, image, recording, before)
        outcome.served++
      }
    } catch (thrown) {
      t.diagnostic(again)
      throw thrown
    }
    await rm(image, { recursive: true })
  }
  return outcome
}

/** The cut that `CUT` asks for. */
function oneCut() {
  const [at, seed] = (process.env.CUT ?? '').split(':').map(Number)
  return at === undefined || seed === undefined ? undefined : [{ at, seed }]
}

/** The account, its key, the groups and the messages are there for a client of the real server too. */
async function serve(t: TestContext, directory: string, { key }: Recording, before: readonly Acknowledged[]) {
  const server = await TestServer.start(t, { IM_DATA_DIR: directory })
  const alice = new Person(server, 'alice', '', '', key)
  const stored = new Set<string>()
  for (const group of GROUPS) {
    const history = await alice.history(`g:${group}`)
    assert.equal(history[0]?.kind, 'members')
    for (const { text } of history) stored.add(`${group} ${text}`)
  }
  const lost = before.filter(({ group, text }) => !stored.has(`${group} ${text}`))
  assert.deepEqual(lost.slice(0, 3), [])
  assert.equal(await server.stop(), 0)
}
