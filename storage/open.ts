/** Opens the storage that the settings name. */
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import type { Clock, Storage, Table } from '../core/ports.ts'
import type { Archive, Restoration } from './archive.ts'
import type { HostFigures } from './cassandra/hosts.ts'
import type { CassandraNeeds } from './cassandra/open.ts'
import { itemsOf } from './level/archive.ts'
import { type Backup, backUp, backupsIn, gather, type Told, WITNESS } from './level/backup.ts'
import { Chain, readLinks, WRITE_BUFFER_BYTES } from './level/chain.ts'
import { Engine, type Level } from './level/engine.ts'
import { checkFiles, type Files, lock } from './level/files.ts'
import { CannotOpen, checkMeta, Damaged } from './level/meta.ts'
import { openOver } from './level/open.ts'
import { pictured } from './level/picture.ts'
import { LevelRestoration, mustBeEmpty, UNFINISHED, unfinishedIn } from './level/restoration.ts'
import { Witness } from './level/witness.ts'
import { observed, type StorageRequest } from './observed.ts'

export type { Archive, EntryItem, Item, RecordItem, RemainsItem, Restoration } from './archive.ts'
export { alone, complete, listOf, nameAfter, numbersIn, UNDER_WAY } from './backups.ts'
export type { HostFigures } from './cassandra/hosts.ts'
export { type OpenedCluster, openCluster } from './cluster.ts'
export type { Backup } from './level/backup.ts'
export { type Inspection, inspect } from './level/inspect.ts'
export { OPERATIONS, OUTCOMES, type StorageRequest } from './observed.ts'
export type { RedisFigures } from './redis/open.ts'
export * from './tools.ts'
export { CannotOpen, Damaged }

/** Told of what happens below the ports. */
export interface StorageObserver {
  /** A batch of writes is durable. */
  committed(batch: { transactions: number; rows: number; bytes: number; tookMs: number }): void
  /** A batch of writes failed as a whole; every one who waits for it is told `log-unavailable`. */
  writeFailed(cause: unknown): void
  /** A follower threw, or work beside the writes failed. */
  listenerFailed(cause: unknown): void
  /**
   * The engine's log ends in something unreadable, which is left out: not acknowledged when all stopped, or damaged since.
   */
  tornWrite(torn: { file: string; at: number }): void
  /** A request to log or records has its outcome. */
  asked(request: StorageRequest): void
  /** Cassandra is connected to: what there is to tell of its nodes, by datacenter, as long as the storage is open. */
  ringJoined(hosts: () => HostFigures[]): void
  /** A batch of appends is there, or another server was first (`refused`), or that is not known. */
  raced(outcome: 'applied' | 'refused' | 'unknown'): void
}

interface Common {
  clock: Clock
  observer?: Partial<StorageObserver>
}
export interface LevelOptions extends Common {
  engine: 'level'
  directory: string
  /** Off: a power cut may take the last seconds, a killed process nothing. For tests. */
  fsync: boolean
  /** Writes are refused while the disk has less room than this. */
  lowWaterBytes: number
}
export interface MemoryOptions extends Common {
  engine: 'memory'
}
export interface CassandraOptions extends Common, Omit<CassandraNeeds, keyof Required<Common>> {
  engine: 'cassandra'
}
export type StorageOptions = LevelOptions | MemoryOptions | CassandraOptions

/** @throws CannotOpen: in use by another process, away, not ours, of another format or shape, damaged, or with a hole. */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { engine, observer } = options
  const storage = await openEngine(options)
  if (!observer?.asked) return storage
  // A server alone does without the driver.
  const causes = engine === 'cassandra' ? (await import('./cassandra/outcome.ts')).outcomeOfCause : undefined
  return observed(storage, { engine, tell: request => observer.asked?.(request), ...(causes && { causes }) })
}

async function openEngine(options: StorageOptions): Promise<Storage> {
  if (options.engine === 'memory') {
    const level: Level = new MemoryLevel<string, Buffer>({ valueEncoding: 'buffer' })
    return openOver(level, { ...options, fsync: false, lowWaterBytes: 0, free: async () => Number.POSITIVE_INFINITY })
  }
  if (options.engine === 'cassandra') {
    const { openCassandra } = await import('./cassandra/open.ts')
    return openCassandra({ ...options, observer: options.observer ?? {} })
  }
  const { directory } = options
  const free = async () => {
    const { bavail, bsize } = await statfs(directory)
    return bavail * bsize
  }
  const level = await openDirectory(directory, options.observer)
  const witness = new Witness(directory)
  try {
    return await openOver(level, { ...options, free, witness })
  } catch (cause) {
    await witness.close()
    await level.close()
    throw cause
  }
}

export async function openDirectory(directory: string, observer?: Partial<StorageObserver>): Promise<Level> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const files = join(directory, 'level')
  if (!existsSync(files)) {
    const unfinished = unfinishedIn(directory)
    if (unfinished) throw unfinished
    await make(directory, files)
  }
  const { torn } = await look(directory, files)
  const level = await openFiles(directory, files)
  for (const end of torn) observer?.tornWrite?.(end)
  return level
}

/** LevelDB does not sync the first file of a new database: a power cut could leave one that does not open. */
async function make(directory: string, files: string): Promise<void> {
  const half = `${files}.new`
  await rm(half, { recursive: true, force: true })
  const level = await openFiles(directory, half)
  await level.close()
  await settle(half, files)
}
/** Makes a database that is closed durable, and gives it its name. */
async function settle(half: string, files: string): Promise<void> {
  for (const name of await readdir(half)) await sync(join(half, name))
  await sync(half)
  await rename(half, files)
  await sync(dirname(files))
}
async function sync(path: string): Promise<void> {
  await using file = await open(path)
  await file.sync()
}

/**
 * Everything that a directory holds, for `use` alone; a server may go on writing there meanwhile.
 * @throws CannotOpen: there is nothing, or it is damaged
 */
export function withArchive<T>(directory: string, use: (archive: Archive) => Promise<T>): Promise<T> {
  return pictured(directory, async picture => {
    const level = await openDirectory(picture)
    try {
      await prove(level, picture)
      return await use({ items: () => itemsOf(level) })
    } finally {
      await level.close()
    }
  })
}

/** Of an open database: it is ours, and has every commit that is known of. @throws CannotOpen */
async function prove(level: Level, directory: string): Promise<void> {
  const engine = new Engine(level)
  const known = await new Chain(new Witness(directory)).expected()
  await checkMeta(engine, known)
  await readLinks(engine, known)
}

/**
 * Begins to fill a directory that has no database, or goes on with it. `tables`: those that have indexes.
 * @throws CannotOpen: there is one, or another process is filling it
 */
export async function openRestoration(directory: string, tables: readonly Table<never>[]): Promise<Restoration> {
  mustBeEmpty(directory, 'import')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const half = join(directory, UNFINISHED.import)
  const level = await openFiles(directory, half)
  return LevelRestoration.over(level, tables, () => settle(half, join(directory, 'level')))
}

/**
 * Backs up what a directory holds into `place`, after opening a copy of it as a server would; a server may go on writing.
 * @throws CannotOpen: there is nothing, it is damaged, or another backup is being made
 */
export function backup(directory: string, place: string, how: { full: boolean; told: Told }): Promise<Backup> {
  return pictured(directory, async picture => {
    const at = Date.now()
    // Opening changes files.
    await pictured(picture, async copy => {
      const level = await openDirectory(copy)
      await prove(level, copy).finally(() => level.close())
    })
    return backUp(picture, place, { ...how, at })
  })
}

/** Brings a backup back, the newest one unless one is named, into a directory that has no database. @throws CannotOpen */
export async function restore(directory: string, place: string, how: { name?: string; told: Told }): Promise<Backup> {
  mustBeEmpty(directory, 'restore')
  const all = await backupsIn(place)
  const chosen = how.name === undefined ? all.at(-1) : all.find(({ name }) => name === how.name)
  if (!chosen) throw new CannotOpen(`There is no backup${how.name === undefined ? '' : ` ${how.name}`} in ${place}.`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const half = join(directory, UNFINISHED.restore)
  await gather(place, chosen, half, how.told)
  if (existsSync(join(half, WITNESS))) await rename(join(half, WITNESS), join(directory, WITNESS))
  await settle(half, join(directory, 'level'))
  return chosen
}

async function openFiles(directory: string, files: string): Promise<Level> {
  const level: Level = new ClassicLevel<string, Buffer>(files, {
    valueEncoding: 'buffer',
    writeBufferSize: WRITE_BUFFER_BYTES,
    // Fewer, larger tables: less merging, and their filters stay in memory for more data.
    maxFileSize: 8 * 1024 * 1024,
    cacheSize: 32 * 1024 * 1024,
  })
  // LevelDB syncs no names after an opening. A power cut could then bring back the log that it has just recovered, without
  // the end of it that was never synced, and beside it the new log with synced commits upon that end.
  level.hooks.postopen.add(() => sync(files))
  try {
    await level.open()
    return level
  } catch (thrown) {
    const { cause } = thrown as { cause?: { code?: string; message?: string } }
    if (cause?.code === 'LEVEL_LOCKED') throw inUse(directory, thrown)
    const says = `The data directory ${directory} cannot be opened: ${cause?.message ?? thrown}.`
    throw new (cause?.code === 'LEVEL_CORRUPTION' ? Damaged : CannotOpen)(says, { cause: thrown })
  }
}

async function look(directory: string, files: string): Promise<Files> {
  try {
    return await checkFiles(files)
  } catch (thrown) {
    // Files that another process is writing look damaged.
    const release = thrown instanceof CannotOpen && (await lock(files).catch(() => async () => {}))
    if (release === undefined) throw inUse(directory, thrown)
    if (release) await release()
    throw thrown
  }
}

const inUse = (directory: string, cause: unknown) =>
  new CannotOpen(`The data directory ${directory} is in use by another process.`, { cause })
