/**
 * Backups of a database: a directory of numbered backups, each with a list of all files that make up the database, and
 * those of them that no earlier one holds. LevelDB never changes a table, so what is new since the last backup is new
 * tables and the logs. A full backup holds all of its files.
 *
 *   0001/backup.json  0001/files/…    full
 *   0002/backup.json  0002/files/…    what is new; its list names 0001 where the rest is
 *
 * A backup that is being made has another name, and goes on where it was interrupted.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { EpochMs } from '../../protocol/ids.ts'
import { alone, complete, listOf, nameAfter, numbersIn, UNDER_WAY } from '../backups.ts'
import { CannotOpen } from './meta.ts'

/** One file of the database. */
export interface Kept {
  name: string
  bytes: number
  sha256: string
  /** The backup that holds it. */
  in: string
}
export interface Backup {
  format: 1
  name: string
  full: boolean
  madeAt: EpochMs
  files: Kept[]
}
/** How much of it is done. */
export type Told = (done: { bytes: number; of: number }) => void

const FILES = 'files'
/** Lies beside the database. */
export const WITNESS = 'last-commit'
const CHUNK_BYTES = 1024 * 1024

/** Complete ones, oldest first. @throws CannotOpen: one of the lists cannot be read */
export async function backupsIn(place: string): Promise<Backup[]> {
  const found: Backup[] = []
  for (const name of await numbersIn(place)) {
    const isOurs = (list: object): list is Backup => {
      const { format, name: own, files } = list as Backup
      return format === 1 && own === name && Array.isArray(files) && files.every(isKept)
    }
    found.push(await listOf(place, name, isOurs))
  }
  return found
}

/** Names become paths. */
const isKept = (kept: Kept) =>
  /^(CURRENT|MANIFEST-\d+|\d+\.(ldb|sst|log)|last-commit)$/.test(kept.name) && /^\d{4,}$/.test(kept.in)

interface How {
  full: boolean
  /** When the picture was taken. */
  at: EpochMs
  told: Told
}

/** Of a picture of a database, which stays as it is. Rests on the newest backup unless it is to be full. */
export async function backUp(picture: string, place: string, { full, at, told }: How): Promise<Backup> {
  const to = join(place, UNDER_WAY)
  await mkdir(join(to, FILES), { recursive: true, mode: 0o700 })
  const hold = await alone(place)
  try {
    const earlier = await backupsIn(place)
    const base = full ? undefined : earlier.at(-1)
    const name = nameAfter(earlier.at(-1)?.name)
    const files = await filled(picture, { place, to: join(to, FILES), name, known: base?.files ?? [] }, told)
    const list: Backup = { format: 1, name, full: !files.some(file => file.in !== name), madeAt: at, files }
    await complete({ place, hold }, list, [join(to, FILES)])
    return list
  } finally {
    await hold.release()
  }
}

interface Target {
  place: string
  /** Where files go. */
  to: string
  name: string
  /** What earlier backups hold. */
  known: readonly Kept[]
}

async function filled(picture: string, { place, to, name, known }: Target, told: Told): Promise<Kept[]> {
  const paths = await pathsIn(picture)
  const of = paths.reduce((sum, { bytes }) => sum + bytes, 0)
  const files: Kept[] = []
  let done = 0
  for (const { path, bytes } of paths) {
    const sha256 = await hashOf(path)
    const kept = { name: basename(path), bytes, sha256, in: name }
    const there = known.find(file => file.name === kept.name && file.sha256 === sha256)
    if (there && (await isThere(place, there))) files.push(there)
    else {
      await copied(path, join(to, kept.name), sha256)
      files.push(kept)
    }
    done += bytes
    told({ bytes: done, of })
  }
  const own = new Set(files.filter(file => file.in === name).map(file => file.name))
  // Of a run that was interrupted.
  for (const left of await readdir(to)) if (!own.has(left)) await rm(join(to, left))
  return files
}

const pathOf = (place: string, { in: holder, name }: Kept) => join(place, holder, FILES, name)
const isThere = async (place: string, kept: Kept) =>
  (await stat(pathOf(place, kept)).catch(() => undefined))?.size === kept.bytes

async function pathsIn(picture: string): Promise<{ path: string; bytes: number }[]> {
  const names = (await readdir(join(picture, 'level'))).map(name => join('level', name))
  if ((await readdir(picture)).includes(WITNESS)) names.push(WITNESS)
  return Promise.all(
    names.sort().map(async name => ({ path: join(picture, name), bytes: (await stat(join(picture, name))).size })),
  )
}

/**
 * Puts the files of a backup together. What is there already and right, from a run that was interrupted, is left.
 * @throws CannotOpen: a file of it is missing or damaged
 */
export async function gather(place: string, { files }: Backup, to: string, told: Told): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 })
  const of = files.reduce((sum, { bytes }) => sum + bytes, 0)
  let done = 0
  for (const kept of files) {
    const from = pathOf(place, kept)
    const wrong = (cause?: unknown) => new CannotOpen(`The backup's file ${from} is missing or damaged.`, { cause })
    if (!(await isThere(place, kept))) throw wrong()
    await copied(from, join(to, kept.name), kept.sha256).catch(cause => {
      throw cause instanceof Wrong ? wrong(cause) : cause
    })
    done += kept.bytes
    told({ bytes: done, of })
  }
  const wanted = new Set(files.map(({ name }) => name))
  for (const left of await readdir(to)) if (!wanted.has(left)) await rm(join(to, left))
}

class Wrong extends Error {}

/** A copy with that hash, durable; nothing is done where there is one. @throws Wrong: the file has another */
async function copied(from: string, to: string, sha256: string): Promise<void> {
  const there = await hashOf(to).catch(() => undefined)
  if (there === sha256) return
  const half = `${to}.half`
  const hash = createHash('sha256')
  await using file = await open(half, 'w', 0o600)
  for await (const chunk of createReadStream(from, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    await file.writeFile(chunk)
  }
  await file.sync()
  if (hash.digest('hex') !== sha256) {
    await rm(half)
    throw new Wrong(`${from} is not what its list says.`)
  }
  await rename(half, to)
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
