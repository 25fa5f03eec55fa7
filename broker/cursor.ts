/** A session's position in one conversation: the end of what was acknowledged without gaps, and what was above it. */
import type { StoredEntry } from '../core/entry.ts'
import type { ConversationKey } from '../core/ports.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { Route } from './filters.ts'

type Range = [from: number, to: number]

/** Compact form in storage: acknowledged prefix, and what is acknowledged above it: entries, and gaps from first to last. */
export interface StoredCursor {
  /** Epoch of the session that wrote it. */
  e: number
  a: number
  s?: (number | Range)[]
  /** Up to here, the client may have had what is not acknowledged. */
  d?: number
}

/** Whoever reads at a cursor. */
export interface Reader {
  arrived(cursor: Cursor, entry: StoredEntry): void
}

export class Cursor {
  readonly reader: Reader
  readonly conversation: ConversationId
  readonly key: ConversationKey
  /** Nothing at or below is ever delivered: it was before the reader's joining entry. */
  readonly floor: number
  /** Every entry up to here is acknowledged. Never goes down. */
  acked: number
  /** Every entry up to here was sent, skipped or acknowledged. */
  sent: number
  /** Highest durable entry known of. */
  tail = 0
  /** Acknowledged, above `acked`: where each entry or gap begins and ends. At most a window. */
  above: Map<number, number> | undefined
  /** Up to here, single entries may be acknowledged or in flight already: left by the connection before. */
  resumedUpTo = 0
  /** Up to here, the client may have had what is not acknowledged, from a connection that could not write so: it comes with DUP. */
  mayHaveUpTo = 0
  /** The position is known. */
  placed = false
  /** The position is not known yet, or a read is under way. */
  busy = false
  /** Looks that are under way for whether the reader is still in. */
  doubts = 0
  /** The reader is not in the conversation any more. */
  left = false
  /** Since when it is behind with nothing under way; for the watchdog. */
  idleSince = 0
  route: Route | undefined
  commandRoute: Route | undefined

  constructor(reader: Reader, conversation: ConversationId, key: ConversationKey, floor: number) {
    this.reader = reader
    this.conversation = conversation
    this.key = key
    this.floor = floor
    this.acked = floor
    this.sent = floor
  }

  /** Goes on where the session was. Whether the row says all of it. */
  restore({ a, s, d = 0 }: Pick<StoredCursor, 'a' | 's' | 'd'>): boolean {
    this.acked = a
    this.sent = a
    this.mayHaveUpTo = Math.max(this.mayHaveUpTo, d)
    const ranges = s?.map((range): Range => (typeof range === 'number' ? [range, range] : range)) ?? []
    const above = ranges.filter(([, to]) => to > a)
    this.above = above.length > 0 ? new Map(above) : undefined
    this.resumedUpTo = Math.max(0, ...above.map(([, to]) => to))
    return this.mayHaveUpTo <= Math.max(a, d)
  }

  /** Nothing of it goes out now. */
  get held(): boolean {
    return this.busy || this.doubts > 0
  }

  get behind(): boolean {
    return this.sent < this.tail
  }

  /** Acknowledges `from` to `to`. Whether the prefix grew. */
  settle(from: number, to: number): boolean {
    if (from > this.acked + 1) {
      this.above ??= new Map()
      this.above.set(from, to)
      return false
    }
    if (to <= this.acked) return false
    this.acked = to
    if (this.above) this.#join(this.above)
    return true
  }

  /** What now follows the prefix belongs to it. */
  #join(above: Map<number, number>): void {
    for (let before = -1; before !== this.acked; ) {
      before = this.acked
      for (const [from, to] of above) {
        if (from > this.acked + 1) continue
        above.delete(from)
        this.acked = Math.max(this.acked, to)
      }
    }
    if (above.size === 0) this.above = undefined
  }

  /** Whether an entry that the connection before may have handled is acknowledged. */
  has(seq: number): boolean {
    if (seq <= this.acked || this.above?.has(seq)) return true
    for (const [from, to] of this.above ?? []) if (from <= seq && seq <= to) return true
    return false
  }

  stored(epoch: number): StoredCursor {
    const s = this.above && [...this.above].map(range => (range[0] === range[1] ? range[0] : range))
    const d = this.mayHaveUpTo > this.acked ? this.mayHaveUpTo : undefined
    return { e: epoch, a: this.acked, ...(s && { s }), ...(d !== undefined && { d }) }
  }
}
