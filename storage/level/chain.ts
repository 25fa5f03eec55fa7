/**
 * Every commit writes a row with its number and the hash of the row before. LevelDB drops what is damaged in its
 * write-ahead log and opens as if nothing had been there; a hole in this chain tells it.
 *
 * A row is kept until its commit can no longer lie in the write-ahead log alone: all of them from one opening to the next
 * (opening moves the log into tables), but no more than the engine buffers.
 */
import { createHash } from 'node:crypto'
import { behind } from '../shape.ts'
import type { Engine } from './engine.ts'
import { Damaged } from './meta.ts'
import type { Rows } from './overlay.ts'
import { batchKey, blank, HEAD, isWhole, seal, whole } from './rows.ts'
import type { Witness } from './witness.ts'

/** The engine's buffer; a full one is written out while the next fills. */
export const WRITE_BUFFER_BYTES = 16 * 1024 * 1024
const KEEP_BYTES = 2.5 * WRITE_BUFFER_BYTES
/** Commits whose rows are removed together. */
const SEGMENT = 64
const HASH_BYTES = 16
const PAYLOAD_BYTES = 18 + HASH_BYTES
const VALUE_BYTES = HEAD + PAYLOAD_BYTES
const MAX_KEY_BYTES = batchKey(Number.MAX_SAFE_INTEGER).length

interface Link {
  number: number
  /** First row that is still there. */
  floor: number
  /** The last commit before this one that was to be durable. */
  durable: number
  before: Buffer
  hash: Buffer
}

export class Chain {
  readonly #witness: Witness | undefined
  /** Whether the witness is told of each commit, or only of the one that opens. */
  readonly #everyCommit: boolean
  #number = 0
  #durable = 0
  #hash: Buffer = Buffer.alloc(HASH_BYTES)
  #floor = 1
  #bytes = 0
  /** Bytes written when each segment since the floor ended. */
  #segments: { last: number; bytes: number }[] = []
  #pending: { link: Link; bytes: number; durable: boolean } | undefined

  constructor(witness?: Witness, everyCommit = true) {
    this.#witness = witness
    this.#everyCommit = everyCommit
  }

  /** The last commit that must be there. */
  async expected(): Promise<number> {
    const known = await this.#witness?.read()
    return typeof known === 'number' ? known : 0
  }

  /** Looks for holes since the last opening, then begins anew with a row of its own. @throws HoleFound */
  async open(engine: Engine): Promise<void> {
    const links = await readLinks(engine, await this.expected())
    const last = links.at(-1)
    this.#number = last?.number ?? 0
    this.#durable = this.#number
    this.#hash = last?.hash ?? Buffer.alloc(HASH_BYTES)
    this.#floor = this.#number + 1
    this.#segments = []
    const { link, row } = this.#next()
    // In one write: a row says which is the first that is still there.
    await engine.write([...links.map(({ number }) => [batchKey(number), undefined] as const), row], true)
    this.#pending = { link, bytes: 0, durable: true }
    await this.#witness?.begin(link.number)
    this.written()
  }

  /** Adds the row of the next commit; `written` makes it the last one. */
  add(rows: Rows, durable: boolean): void {
    const oldest = this.#segments[0]
    if (oldest && oldest.bytes < this.#bytes - KEEP_BYTES) {
      for (let gone = this.#floor; gone <= oldest.last; gone++) rows.delete(batchKey(gone))
      this.#floor = oldest.last + 1
      this.#segments.shift()
    }
    const { link, row } = this.#next()
    rows.put(...row)
    this.#pending = { link, bytes: rows.bytes, durable }
  }

  #next(): { link: Link; row: readonly [string, Buffer] } {
    const number = this.#number + 1
    const key = batchKey(number)
    const value = blank(PAYLOAD_BYTES)
    value.writeUIntBE(number, HEAD, 6)
    value.writeUIntBE(this.#floor, HEAD + 6, 6)
    value.writeUIntBE(this.#durable, HEAD + 12, 6)
    value.set(this.#hash, HEAD + 18)
    const row = [key, seal(key, value)] as const
    return { link: readLink([key, value]), row }
  }

  written(): void {
    if (!this.#pending) return
    const { link, bytes, durable } = this.#pending
    this.#pending = undefined
    this.#number = link.number
    if (durable) this.#durable = link.number
    if (durable && this.#everyCommit) this.#witness?.saw(link.number)
    this.#hash = link.hash
    this.#bytes += bytes
    if (link.number % SEGMENT === 0) this.#segments.push({ last: link.number, bytes: this.#bytes })
  }

  get number(): number {
    return this.#number
  }
}

/** The row that ends a commit, from LevelDB's record of the commit: each put is 1, length and key, length and value. */
export function linkAtEnd(record: Buffer): Pick<Link, 'number' | 'durable'> | undefined {
  const valueAt = record.length - VALUE_BYTES
  if (record[valueAt - 1] !== VALUE_BYTES) return undefined
  const value = record.subarray(valueAt)
  for (let keyBytes = 4; keyBytes <= MAX_KEY_BYTES; keyBytes++) {
    const keyAt = valueAt - 1 - keyBytes
    if (record[keyAt - 1] !== keyBytes || record[keyAt - 2] !== 1) continue
    const key = record.toString('latin1', keyAt, keyAt + keyBytes)
    if (key.startsWith('b\0') && isWhole(key, value)) return readLink([key, value])
  }
  return undefined
}

/** The database lost something that was stored. */
export class HoleFound extends Damaged {}

/** The commits since the last opening. @throws HoleFound */
export async function readLinks(engine: Engine, expected: number): Promise<Link[]> {
  const rows = await engine.rows({ gte: 'b\0', lt: behind('b\0'), limit: 10_000_000 })
  const links = rows.map(linkOf)
  const last = links.at(-1)
  if (last) verify(links, last)
  const number = last?.number ?? 0
  if (number < expected)
    throw new HoleFound(`Commits ${number + 1} to ${expected} of ${expected} are missing from the end of the database.`)
  return links
}

/** Commits that were not to be durable may be missing; a later one says which was the last that was. */
function verify(links: Link[], last: Link): void {
  const known = links.filter(link => link.number >= last.floor)
  let before: Link | undefined
  for (const link of known) {
    const expected = before ? before.number + 1 : last.floor
    const lost = link.number > expected
    if (lost && link.durable >= expected)
      throw new HoleFound(`Commits ${expected} to ${link.number - 1} of ${last.number} are missing from the database.`)
    if (before && !lost && !link.before.equals(before.hash))
      throw new HoleFound(`Commit ${link.number} of the database does not follow commit ${before.number}.`)
    before = link
  }
}

function readLink([key, value]: [string, Buffer]): Link {
  whole(key, value)
  return {
    number: value.readUIntBE(HEAD, 6),
    floor: value.readUIntBE(HEAD + 6, 6),
    durable: value.readUIntBE(HEAD + 12, 6),
    before: value.subarray(HEAD + 18),
    hash: createHash('sha256').update(value).digest().subarray(0, HASH_BYTES),
  }
}

function linkOf(row: [string, Buffer]): Link {
  try {
    return readLink(row)
  } catch (cause) {
    throw new HoleFound(`A commit of the database cannot be read: row ${JSON.stringify(row[0])}.`, { cause })
  }
}
