/** A session's position in one conversation: the end of what was acknowledged without gaps, and what was above it. */
import type { StoredEntry } from '../core/entry.ts'
import type { ConversationKey } from '../core/ports.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { Route } from './filters.ts'

/** Compact form in storage: acknowledged prefix, and the set above it. */
export interface StoredCursor {
  /** Epoch of the session that wrote it. */
  e: number
  a: number
  s?: number[]
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
  /** Acknowledged, above `acked`. At most a window. */
  above: Set<number> | undefined
  /** Up to here, single entries may be acknowledged or in flight already: left by the connection before. */
  resumedUpTo = 0
  /** The position is known. */
  placed = false
  /** The position is not known yet, or a read is under way. */
  busy = false
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

  /** Goes on where the session was. */
  restore({ a, s }: Pick<StoredCursor, 'a' | 's'>): void {
    this.acked = a
    this.sent = a
    const above = s?.filter(seq => seq > a) ?? []
    this.above = above.length > 0 ? new Set(above) : undefined
    this.resumedUpTo = Math.max(0, ...above)
  }

  get behind(): boolean {
    return this.sent < this.tail
  }

  /** Acknowledges `from` to `to`. Whether the prefix grew. */
  settle(from: number, to: number): boolean {
    if (from > this.acked + 1) {
      this.above ??= new Set()
      for (let seq = from; seq <= to; seq++) this.above.add(seq)
      return false
    }
    if (to <= this.acked) return false
    this.acked = to
    if (this.above) {
      for (const seq of this.above) if (seq <= to) this.above.delete(seq)
      while (this.above.delete(this.acked + 1)) this.acked++
      if (this.above.size === 0) this.above = undefined
    }
    return true
  }

  /** Whether an entry that the connection before may have handled is acknowledged. */
  has(seq: number): boolean {
    return seq <= this.acked || this.above?.has(seq) === true
  }

  stored(epoch: number): StoredCursor {
    return this.above ? { e: epoch, a: this.acked, s: [...this.above] } : { e: epoch, a: this.acked }
  }
}
