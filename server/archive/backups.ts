/**
 * Backups of items, which no engine owns, in a directory of numbered ones. Each has a list of all its chunks in order, and
 * holds those that no earlier one does: the first one, and one that is to be full, all of them.
 *
 *   0001/backup.json  0001/chunks  0001/items    full
 *   0002/backup.json  0002/chunks  0002/items    what is new; `chunks` names 0001 where the rest is
 */
import { createHash } from 'node:crypto'
import { mkdir, open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { EpochMs } from '../../protocol/ids.ts'
import {
  type Archive,
  alone,
  complete,
  type Item,
  listOf,
  nameAfter,
  numbersIn,
  UNDER_WAY,
} from '../../storage/open.ts'
import { CannotDo } from '../commands/trouble.ts'
import { chunked } from './chunks.ts'
import { linesFrom } from './file.ts'
import { CHUNKS, type Chunk, chunkOf, ITEMS, Pack } from './pack.ts'
import { Tally, type Totals } from './tally.ts'

export interface ItemsBackup {
  format: 1
  kind: 'items'
  name: string
  full: boolean
  /** When it was begun. */
  madeAt: EpochMs
  chunks: number
  bytes: number
  /** Of them, those that it holds itself. */
  newChunks: number
  newBytes: number
  /** SHA-256 of the list of chunks. */
  sha256: string
  totals: Totals
}

/** Bytes that are handed on at once. */
const AT_ONCE = 1024 * 1024

/** Complete ones, oldest first. @throws CannotOpen: one of the lists cannot be read */
export async function itemBackupsIn(place: string): Promise<ItemsBackup[]> {
  const found: ItemsBackup[] = []
  for (const name of await numbersIn(place)) {
    const isOurs = (list: object): list is ItemsBackup =>
      (list as ItemsBackup).kind === 'items' &&
      (list as ItemsBackup).format === 1 &&
      (list as ItemsBackup).name === name
    found.push(await listOf(place, name, isOurs))
  }
  return found
}

/** What the backups of a directory hold; undefined: there are none. @throws CannotOpen */
export async function kindIn(place: string): Promise<'items' | 'files' | undefined> {
  const [name] = await numbersIn(place)
  if (name === undefined) return undefined
  const { kind } = await listOf(place, name, (_): _ is { kind?: unknown } => true)
  return kind === 'items' ? 'items' : 'files'
}

interface How {
  full: boolean
  at: EpochMs
  told: (lines: number) => void
}

/**
 * Rests on the newest backup unless it is to be full. `from`: bytes that a run which was interrupted had left.
 * @throws CannotOpen: another is being made
 */
export async function backUpItems(
  archive: Archive,
  place: string,
  { full, at, told }: How,
): Promise<{ made: ItemsBackup; from: number }> {
  const to = join(place, UNDER_WAY)
  await mkdir(to, { recursive: true, mode: 0o700 })
  const hold = await alone(place)
  try {
    const earlier = await itemBackupsIn(place)
    const base = full ? undefined : earlier.at(-1)
    const name = nameAfter(earlier.at(-1)?.name)
    const tally = new Tally()
    const { counts, from } = await packed(counting(archive, tally, told), { place, to, name, base })
    const { totals } = tally.finish()
    const isFull = counts.chunks === counts.newChunks
    const made: ItemsBackup = { format: 1, kind: 'items', name, full: isFull, madeAt: at, ...counts, totals }
    await complete({ place, hold }, made)
    return { made, from }
  } finally {
    await hold.release()
  }
}

async function* counting(archive: Archive, tally: Tally, told: How['told']): AsyncGenerator<Item[]> {
  tally.begin()
  for await (const items of archive.items()) {
    tally.add(items)
    told(tally.lines)
    yield items
  }
}

interface Target {
  place: string
  /** Where it is made. */
  to: string
  name: string
  base: ItemsBackup | undefined
}

async function packed(items: AsyncIterable<Item[]>, { place, to, name, base }: Target) {
  await using pack = await Pack.open(to, name)
  if (base) for await (const chunk of listed(place, base)) pack.know(chunk)
  await pack.mustHold(holder => sizeIn(place, holder))
  for await (const bytes of chunked(items)) await pack.add(bytes)
  return { counts: await pack.end(), from: pack.from }
}

const sizeIn = async (place: string, holder: string) =>
  (await stat(join(place, holder, ITEMS)).catch(() => undefined))?.size ?? 0

// ---- reading ----

async function* listed(place: string, { name, sha256, chunks }: ItemsBackup): AsyncGenerator<Chunk> {
  const file = join(place, name, CHUNKS)
  const whole = createHash('sha256')
  let count = 0
  for await (const { lines } of linesFrom(file, 0))
    for (const line of lines) {
      whole.update(line).update('\n')
      count++
      yield chunkOf(line.toString()) ?? fail(damaged(file))
    }
  if (count !== chunks || whole.digest('hex') !== sha256) throw damaged(file)
}

const fail = (error: Error): never => {
  throw error
}
const damaged = (file: string, cause?: unknown) =>
  new CannotDo(`The backup's file ${file} is missing or damaged.`, { cause })

/** Reads all of a backup. @throws CannotDo: something of it is missing or damaged */
export async function checkBackup(place: string, backup: ItemsBackup, told: (share: number) => void): Promise<void> {
  for await (const { end } of linesOfBackup(place, backup, 0)) told(end / backup.bytes)
}

/** Its lines from a place in it on, some chunks' at a time, and where they end. @throws CannotDo */
export async function* linesOfBackup(
  place: string,
  backup: ItemsBackup,
  start: number,
): AsyncGenerator<{ lines: Buffer[]; end: number }> {
  await using files = new Files(place)
  let [lines, bytes, end]: [Buffer[], number, number] = [[], 0, 0]
  for await (const chunk of wellListed(place, backup)) {
    end += chunk.bytes
    if (end <= start) continue
    lines.push(...apart(await files.read(chunk)))
    bytes += chunk.bytes
    if (bytes < AT_ONCE) continue
    yield { lines, end }
    ;[lines, bytes] = [[], 0]
  }
  if (lines.length > 0) yield { lines, end }
}

/** A list that cannot be read is damaged, whatever the reader says. */
async function* wellListed(place: string, backup: ItemsBackup): AsyncGenerator<Chunk> {
  try {
    yield* listed(place, backup)
  } catch (cause) {
    throw cause instanceof CannotDo ? cause : damaged(join(place, backup.name, CHUNKS), cause)
  }
}

function apart(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let from = 0, at = bytes.indexOf(10); at !== -1; from = at + 1, at = bytes.indexOf(10, from))
    lines.push(bytes.subarray(from, at))
  return lines
}

/** Open files of chunks. */
class Files implements AsyncDisposable {
  readonly #place: string
  readonly #open = new Map<string, Awaited<ReturnType<typeof open>>>()

  constructor(place: string) {
    this.#place = place
  }

  async read({ in: holder, at, bytes, sha256 }: Chunk): Promise<Buffer> {
    const path = join(this.#place, holder, ITEMS)
    const file =
      this.#open.get(holder) ??
      (await open(path).catch(cause => {
        throw damaged(path, cause)
      }))
    this.#open.set(holder, file)
    const buffer = Buffer.alloc(bytes)
    await file.read(buffer, 0, bytes, at)
    if (createHash('sha256').update(buffer).digest('hex') !== sha256) throw damaged(path)
    return buffer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#open.values()) await file.close()
  }
}
