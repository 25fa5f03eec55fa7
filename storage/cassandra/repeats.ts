/** Appends that were made before: found by clientMessageId in the bucket that is written, and in those before it. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { says } from '../entry-json.ts'
import type { Append } from './append.ts'
import { entryOf, type Repeat, removedEntry, repeatOf } from './entries.ts'
import type { Shared } from './log.ts'
import type { Row } from './ring.ts'

/** A clientMessageId is known for so long, and for so many entries at least. */
export const KNOWN_MS = 30 * 86_400_000
export const KNOWN_ENTRIES = 10_000

export interface Found {
  append: Append
  row: Row
}

export class Repeats {
  readonly #shared: Shared
  readonly #conversation: ConversationKey
  /** The buckets before this one that may hold a repeat. */
  #before: { bucket: number; buckets: number[] } | undefined

  constructor(shared: Shared, conversation: ConversationKey) {
    this.#shared = shared
    this.#conversation = conversation
  }

  async inBucket(appends: readonly Append[], bucket: number): Promise<Found[]> {
    const named = appends.filter(({ name }) => name !== undefined)
    const rows = await this.#shared.ring.each(named, async ({ name }) => {
      const query = `SELECT target, fingerprint, kind, sender, n, sent_at, entry FROM log
        WHERE conversation = ? AND bucket = ? AND seq = 0 AND name = ?`
      const [row] = await this.#shared.ring.read(query, [this.#conversation, bucket, name as string])
      return row
    })
    return named.flatMap((append, nth) => (rows[nth] ? [{ append, row: rows[nth] }] : []))
  }

  /** In buckets that are full: nothing is added to them, so what is not found there now never is. */
  async before(appends: readonly Append[], bucket: number): Promise<Found[]> {
    if (bucket === 0 || appends.every(({ name }) => name === undefined)) return []
    if (this.#before?.bucket !== bucket) this.#before = { bucket, buckets: await this.#recent(bucket) }
    const all = await Promise.all(this.#before.buckets.map(one => this.inBucket(appends, one)))
    return all.flat()
  }

  async #recent(bucket: number): Promise<number[]> {
    const { ring, ends, clock } = this.#shared
    const always = ends.bucketOf(ends.firstOf(bucket) - KNOWN_ENTRIES)
    const buckets = Array.from({ length: bucket - always }, (_, nth) => bucket - 1 - nth)
    for (let one = always - 1; one >= 0; one--) {
      const query = 'SELECT tail_at FROM log WHERE conversation = ? AND bucket = ? LIMIT 1'
      const [row] = await ring.read(query, [this.#conversation, one])
      if (!row || Number(row.tail_at) < clock.now() - KNOWN_MS) break
      buckets.push(one)
    }
    return buckets
  }

  /** The entry stored first. @throws Fault `client-message-id-reused` */
  async entry({ append, row }: Found): Promise<StoredEntry> {
    const repeat: Repeat = repeatOf(row)
    const stored = repeat.remains ? removedEntry(this.#conversation, row) : await this.#stored(repeat)
    const { crc, length } = repeat.fingerprint
    const isSame = append.fingerprint?.crc === crc && append.fingerprint.length === length
    if (!isSame && !says(stored, append.draft)) throw new Fault('client-message-id-reused', { seq: repeat.seq })
    return stored.again()
  }

  async #stored({ seq }: Repeat): Promise<StoredEntry> {
    const row = await this.#shared.row(this.#conversation, seq)
    if (!row) throw new Fault('log-unavailable', {}, { cause: new Error(`Entry ${seq} is missing.`) })
    return entryOf(row).entry
  }
}
