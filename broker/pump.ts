/**
 * The pump of one connection: gives its session what it has not had, in order.
 *
 * 1. A new entry goes out from memory when the session has everything before it and the window is open.
 * 2. Otherwise its conversation is behind, and is read from the log when acknowledgements open the window;
 *    room is reserved before a read, and the conversations that are behind take turns.
 * 3. A reconnect is a conversation that is behind.
 *
 * It imports no timer, no socket and no storage: they are handed to it, so that it can be simulated.
 */
import { type StoredEntry, unexpired } from '../core/entry.ts'
import type { MessageLog, Scheduler } from '../core/ports.ts'
import type { Seq } from '../protocol/ids.ts'
import type { Cursor } from './cursor.ts'
import { type Outlet, type Resend, routeOf, Sender } from './sender.ts'
import type { WindowLimits } from './window.ts'
import type { OutboundPublish } from './wire.ts'

export interface PumpNeeds {
  outlet: Outlet
  log: Pick<MessageLog, 'read' | 'get'>
  scheduler: Scheduler
  limits: WindowLimits
  /** Entries were acknowledged; `prefixGrew` when that moved the end of the acknowledged prefix. */
  moved(cursor: Cursor, prefixGrew: boolean): void
  failed(where: string, error: unknown): void
}

/** Reads under way at once. */
const MAX_READS = 4
const RETRY_MS = [50, 200, 1_000, 5_000]

export class Pump {
  readonly #needs: PumpNeeds
  readonly #sender: Sender
  readonly #behind = new Set<Cursor>()
  #reads = 0
  #failures = 0
  #turn = false
  /** Entries that are to be sent again are looked up. */
  #looks = false
  #closed = false
  #started = false

  constructor(needs: PumpNeeds) {
    this.#needs = needs
    this.#sender = new Sender(needs.outlet, needs.limits, (cursor, from, to) =>
      needs.moved(cursor, cursor.settle(from, to)),
    )
  }

  get behindCount(): number {
    return this.#behind.size
  }
  /** Entries that are durable and not yet sent. */
  get lag(): number {
    let lag = 0
    for (const cursor of this.#behind) lag += cursor.tail - cursor.sent
    return lag
  }
  get inFlightCount(): number {
    return this.#sender.inFlightCount
  }
  unacknowledged() {
    return this.#sender.unacknowledged()
  }

  /** Opens the pump: first what was in flight when the connection before ended, then everything else. */
  start(resends: Resend[]): void {
    this.#sender.resend(resends)
    this.#started = true
    this.#refill()
  }

  /** Nothing goes out any more. */
  close(): void {
    this.#closed = true
    this.#behind.clear()
    this.#sender.clear()
  }

  /** A new durable entry of a conversation that the session is in. */
  arrived(cursor: Cursor, entry: StoredEntry): void {
    if (entry.seq > cursor.tail) cursor.tail = entry.seq
    // A read may have given it before its follower was told.
    if (cursor.held || cursor.left || this.#closed || entry.seq <= cursor.sent) return
    const next = this.#started && cursor.sent === entry.seq - 1 && cursor.sent >= cursor.floor && this.#sender.open
    if (!next || !this.#offer(cursor, entry)) this.#waits(cursor)
  }

  /** The cursor's position or its tail has become known: catches up. */
  follow(cursor: Cursor): void {
    if (cursor.behind && !cursor.left && !this.#closed) this.#waits(cursor)
  }

  leave(cursor: Cursor): void {
    cursor.left = true
    this.#behind.delete(cursor)
  }

  /** PUBACK of the client. An id that is not in flight is passed over. */
  acked(packetId: number): void {
    this.#sender.acked(packetId)
    // Refilled at once: a reader whose PUBACKs wait in Nagle's buffer gets the TCP acknowledgement with our next packet.
    if (this.#behind.size > 0 || this.#sender.waiting) this.#refillSoon()
  }

  /** The socket takes more again. */
  drained(): void {
    this.#refill()
  }

  /** A reply or a retained value: may be lost. */
  tell(packet: OutboundPublish): void {
    if (this.#closed) return
    this.#sender.live(packet)
    this.#refill()
  }

  /** Starts a pump again that should move and does not: behind, open, and no read under way for so long. Whether it did. */
  heal(stalledMs: number): boolean {
    if (this.#closed || !this.#started || this.#turn || this.#reads > 0 || !this.#sender.open) return false
    const [first] = this.#behind
    if (!first || first.doubts > 0 || this.#needs.scheduler.now() - first.idleSince < stalledMs) return false
    first.busy = false
    this.#refill()
    return true
  }

  // ---- conversations that are behind ----

  #waits(cursor: Cursor): void {
    if (!this.#behind.has(cursor)) {
      cursor.idleSince = this.#needs.scheduler.now()
      this.#behind.add(cursor)
    }
    this.#refillSoon()
  }

  #refillSoon(): void {
    if (this.#turn) return
    this.#turn = true
    this.#needs.scheduler.soon(() => {
      this.#turn = false
      this.#refill()
    })
  }

  #refill(): void {
    if (this.#closed || !this.#started) return
    this.#resend()
    this.#sender.flush()
    for (const cursor of this.#behind) {
      if (this.#reads >= MAX_READS || !this.#sender.open) return
      if (cursor.held) continue
      this.#behind.delete(cursor)
      this.#pull(cursor)
    }
  }

  /** Looked up just before it goes out: what was taken back or removed meanwhile is not shown again. */
  #resend(): void {
    const { resendable } = this.#sender
    if (this.#looks || resendable.length === 0) return
    this.#looks = true
    const found = (entries: readonly (StoredEntry | undefined)[]) => {
      this.#looks = false
      if (this.#closed) return
      const now = this.#needs.scheduler.now()
      this.#sender.sendAgain(entries.map(entry => entry && unexpired(entry, now)))
      this.#refill()
    }
    this.#needs.log.get(resendable).then(found, error => this.#later(error, () => found([])))
  }

  /** Never given up: the log is the truth, and the reader has not had it yet. */
  #later(error: unknown, again: () => void): void {
    this.#needs.failed('read', error)
    this.#needs.scheduler.after(RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)] as number, again)
  }

  #pull(cursor: Cursor): void {
    const after = Math.max(cursor.sent, cursor.floor) as Seq
    const { limit, maxBytes, release } = this.#sender.reserve(cursor.tail - after)
    cursor.busy = true
    this.#reads++
    this.#needs.log.read(cursor.key, { after, before: (cursor.tail + 1) as Seq, limit, maxBytes }).then(
      entries => {
        release()
        this.#failures = 0
        this.#took(cursor, entries)
      },
      error => {
        release()
        this.#later(error, () => this.#took(cursor, []))
      },
    )
  }

  #took(cursor: Cursor, entries: readonly StoredEntry[]): void {
    cursor.busy = false
    this.#reads--
    if (this.#closed) return
    const now = this.#needs.scheduler.now()
    const [first] = entries
    if (!cursor.left && first && this.#sender.gaps(cursor, first.seq - 1)) {
      for (const entry of entries) if (entry.seq > cursor.sent && !this.#offer(cursor, unexpired(entry, now))) break
    }
    if (!cursor.left && cursor.behind) {
      cursor.idleSince = now
      this.#behind.add(cursor)
    }
    // What the read had set aside is free again, also for others where the conversation was left meanwhile.
    if (this.#behind.size > 0 || this.#sender.waiting) this.#refillSoon()
  }

  /** Sends an entry that is next; false where there is no room. */
  #offer(cursor: Cursor, entry: StoredEntry): boolean {
    const route = routeOf(cursor, entry)
    const resumed = entry.seq <= cursor.resumedUpTo
    if (resumed && (cursor.has(entry.seq) || this.#sender.flies(cursor, entry.seq))) {
      cursor.sent = entry.seq
      return true
    }
    const sentBefore = cursor.sent
    cursor.sent = entry.seq
    if (!route) {
      this.#needs.moved(cursor, cursor.settle(entry.seq, entry.seq))
      return true
    }
    const sent = this.#sender.entry(cursor, entry, route)
    if (!sent) cursor.sent = sentBefore
    return sent
  }
}
