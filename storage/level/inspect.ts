/**
 * All that can be said of a database without changing it. The rows are read from a copy beside it, as LevelDB writes when it
 * opens: its tables, which nobody changes, have a second name there, the rest is copied.
 */
import { existsSync } from 'node:fs'
import { copyFile, link, mkdtemp, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Table } from '../../core/ports.ts'
import { readLinks } from './chain.ts'
import { Engine, type Level } from './engine.ts'
import { checkFiles, lock } from './files.ts'
import { readManifest } from './manifest.ts'
import { CannotOpen, checkMeta } from './meta.ts'
import { unfinishedIn } from './restoration.ts'
import { RowCheck, type RowFlaw, type Verified } from './verify.ts'
import { Witness } from './witness.ts'

/** How many rows are looked at. */
type Told = (rows: number) => void

/** Of each kind of flaw, at most so many are told. */
const MOST = 100

export interface Inspection {
  state: 'absent' | 'in-use' | 'unfinished' | 'looked-at'
  /** Sentences of what keeps the database from opening, or from being there yet. */
  broken: string[]
  /** Where its end is torn off: the first byte that cannot be read. */
  torn: { file: string; at: number }[]
  /** The number of the last commit, written beside it, cannot be read. */
  witnessDamaged: boolean
  /** Rows that are damaged, missing or wrong: the first ones, and how many. Not looked for where it does not open. */
  flaws: RowFlaw[]
  flawCount: number
  files?: { tables: number; bytes: number }
  rows?: Verified
}

/** `tables`: those that have indexes. @throws Error of the file system: no room, or no permission, to look. */
export async function inspect(directory: string, tables: readonly Table<never>[], told?: Told): Promise<Inspection> {
  const found: Inspection = { state: 'absent', broken: [], torn: [], witnessDamaged: false, flaws: [], flawCount: 0 }
  const files = join(directory, 'level')
  const unfinished = existsSync(files) ? undefined : unfinishedIn(directory)
  if (unfinished) return { ...found, state: 'unfinished', broken: [unfinished.message] }
  const release = await lock(files)
  if (!release) return { ...found, state: 'in-use' }
  try {
    const known = await new Witness(directory).read()
    found.witnessDamaged = known === 'damaged'
    await guarded(found, async () => {
      const { made, torn } = await checkFiles(files, ({ message }) => found.broken.push(message))
      const commits = typeof known === 'number' ? known : 0
      if (made) found.files = made
      found.torn = torn
      if (made && found.broken.length === 0)
        await readRows(files, directory, level => readOpen(found, level, commits, tables, told))
      else if (commits > 0 && !made)
        found.broken.push(`Commits 1 to ${commits} are missing from the database: it is gone.`)
    })
    if (found.files || found.broken.length > 0) found.state = 'looked-at'
    return found
  } finally {
    await release()
  }
}

async function guarded(found: Inspection, look: () => Promise<void>): Promise<void> {
  try {
    await look()
  } catch (thrown) {
    if (!(thrown instanceof CannotOpen)) throw thrown
    found.broken.push(thrown.message)
  }
}

async function readRows(files: string, directory: string, read: (level: Level) => Promise<void>): Promise<void> {
  const copy = await mkdtemp(join(directory, '.doctor-'))
  try {
    await copyTo(copy, files)
    // It begins to open when it is made.
    const level: Level = new ClassicLevel<string, Buffer>(copy, { valueEncoding: 'buffer', createIfMissing: false })
    await level.open().catch(thrown => {
      throw new CannotOpen(`The database cannot be opened: ${thrown.cause?.message ?? thrown.message}.`)
    })
    await read(level).finally(() => level.close())
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

async function readOpen(
  found: Inspection,
  level: Level,
  commits: number,
  tables: readonly Table<never>[],
  told: Told | undefined,
): Promise<void> {
  const engine = new Engine(level)
  await guarded(found, () => checkMeta(engine, commits))
  await guarded(found, async () => void (await readLinks(engine, commits)))
  const check = new RowCheck(level, tables, flaw => {
    found.flawCount++
    if (found.flaws.length < MOST) found.flaws.push(flaw)
  })
  found.rows = await check.run(told)
}

async function copyTo(copy: string, files: string): Promise<void> {
  const manifest = await readManifest(files)
  if (!manifest) return
  for (const file of [...manifest.named, ...manifest.logs]) await copyFile(file, join(copy, basename(file)))
  for (const { file } of manifest.tables) {
    const to = join(copy, basename(file))
    // A file system without second names gets a copy.
    await link(file, to).catch(() => copyFile(file, to))
  }
}
