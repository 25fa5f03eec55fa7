/** A session while it is connected here: its filters, what it follows, its pump, and what of it is written. */
import type { MessageLog } from '../core/ports.ts'
import { type Filter, Filters } from './filters.ts'
import { Following, type FollowingNeeds } from './following.ts'
import { Pump, type PumpNeeds } from './pump.ts'
import { type Ending, SessionRecord } from './record.ts'
import type { Resend } from './sender.ts'
import { type SessionId, type StoredFlight, sessionKey } from './session-rows.ts'
import type { Opened, SessionStore } from './sessions.ts'

export interface SessionNeeds extends Omit<PumpNeeds, 'moved' | 'log'>, Omit<FollowingNeeds, 'log'> {
  log: Pick<MessageLog, 'read' | 'get' | 'tails'>
  store: SessionStore
  /** The session has a newer owner. */
  lost(): void
  /** The server ends. */
  stopping(): boolean
  delivered(count: number): void
}

export class Session {
  readonly id: SessionId
  readonly key: string
  readonly filters: Filters
  readonly following: Following
  readonly pump: Pump
  readonly record: SessionRecord
  readonly #torn: boolean
  /** What was in flight before has been handed to the pump. */
  #resumed = false
  #resuming: Promise<void> = Promise.resolve()
  #closed = false

  constructor(opened: Opened, needs: SessionNeeds) {
    const { row } = opened
    this.id = { app: row.app, member: row.member, clientId: row.clientId }
    this.key = sessionKey(row)
    this.#torn = opened.torn
    this.record = new SessionRecord(opened, needs)
    this.filters = new Filters(row.app, row.member, row.filters)
    this.pump = new Pump({
      ...needs,
      moved: (cursor, prefixGrew) => {
        needs.delivered(1)
        this.following.moved(cursor, prefixGrew)
      },
    })
    this.following = new Following(this.id, needs, this)
  }

  /** The client may have had more than is written, which is not taken up yet. */
  get torn(): boolean {
    return this.#torn && !this.#resumed
  }

  /** Takes up where the session was; what was in flight goes out first. */
  resume(): Promise<void> {
    this.#resuming = this.#takeUp()
    return this.#resuming
  }

  /** Resolves when it is taken up. */
  get takenUp(): Promise<void> {
    return this.#resuming
  }

  async #takeUp(): Promise<void> {
    await this.following.resume()
    const flights = this.record.row.inFlight.filter(([, conversation]) => this.following.get(conversation)?.placed)
    if (this.#closed) return
    this.#resumed = true
    this.pump.start(flights.flatMap((flight): Resend[] => this.#resend(flight)))
  }

  #resend([packetId, conversation, from, seq]: StoredFlight): Resend[] {
    const cursor = this.following.get(conversation)
    // What lies below the floor was sent before the reader left and rejoined: it is not shown again.
    return !cursor || seq < cursor.floor ? [] : [{ packetId, cursor, from, seq }]
  }

  /** Grants filters: the position in every conversation that they newly take is its end, fixed before this resolves. */
  async subscribe(granted: readonly (readonly [string, Filter])[]): Promise<void> {
    // Only ahead of what waits: a client that leaves with a SUBACK unread takes its last PUBACKs along, as TCP resets.
    if (!this.#resumed && granted.every(([filter, options]) => this.filters.has(filter, options))) return
    await this.#resuming
    const before = new Filters(this.id.app, this.id.member, this.filters.stored())
    for (const [filter, options] of granted) this.filters.set(filter, options)
    await this.following.widen(before)
    await this.record.save(this.filters.stored())
  }

  /** Takes filters back. Whether each was there. */
  async unsubscribe(filters: readonly string[]): Promise<boolean[]> {
    await this.#resuming
    const rows = await this.record.cursors()
    if (this.#closed) return []
    const held = filters.map(filter => this.filters.delete(filter))
    await this.record.save(this.filters.stored(), this.following.narrow(rows))
    return held
  }

  /** The connection is gone: the next one, wherever it is, goes on from what this leaves. */
  async close(ending: Ending): Promise<void> {
    this.#closed = true
    this.pump.close()
    this.following.close()
    await this.record.close(ending, { inFlight: this.#inFlight(), ...(this.torn && { torn: true }) })
  }

  /** A connection that ended before it resumed leaves what the one before it left. */
  #inFlight(): StoredFlight[] {
    if (!this.#resumed) return this.record.row.inFlight
    return this.pump
      .unacknowledged()
      .map(({ packetId, flight }) => [packetId, flight.cursor.conversation, flight.from, flight.seq])
  }
}
