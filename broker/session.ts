/**
 * A session while it is connected here: its filters, its cursors and its pump.
 * Whatever changes which conversations it follows goes through here, one change after the other.
 */
import { type DeliveryMarks, keyOf, type Membership, type Memberships, type MessageLog } from '../core/ports.ts'
import type { ConversationId, Seq } from '../protocol/ids.ts'
import { Cursor, type StoredCursor } from './cursor.ts'
import type { Delivery } from './delivery.ts'
import { type Filter, Filters } from './filters.ts'
import { Pump, type PumpNeeds } from './pump.ts'
import { type Ending, SessionRecord } from './record.ts'
import type { Resend } from './sender.ts'
import { type SessionId, type StoredFlight, sessionKey } from './session-rows.ts'
import type { Opened, SessionStore } from './sessions.ts'

export interface SessionNeeds extends Omit<PumpNeeds, 'moved' | 'log'> {
  log: Pick<MessageLog, 'read' | 'get' | 'tails'>
  memberships: Pick<Memberships, 'of' | 'get'>
  marks: DeliveryMarks
  delivery: Delivery
  store: SessionStore
  /** The session has a newer owner. */
  lost(): void
  /** The server ends. */
  stopping(): boolean
  delivered(count: number): void
}

/** What could not be looked at is looked at again so much later. */
const AGAIN_MS = 1_000

export class Session {
  readonly id: SessionId
  readonly key: string
  readonly filters: Filters
  readonly pump: Pump
  readonly record: SessionRecord
  readonly #needs: SessionNeeds
  readonly #cursors = new Map<ConversationId, Cursor>()
  /** Of conversations left on this connection, for the gap after rejoining. */
  readonly #left = new Map<ConversationId, Cursor>()
  /** In storage when it began, of a session that ends with this connection: it writes none. */
  #rows: Promise<Map<string, StoredCursor>> | undefined
  /** Left since a page of memberships was asked for: what it says of them is over. */
  #leftMeanwhile = new Set<ConversationId>()
  /** What was in flight before has been handed to the pump. */
  #resumed = false
  #closed = false

  constructor(opened: Opened, needs: SessionNeeds) {
    const { row } = opened
    this.id = { app: row.app, member: row.member, clientId: row.clientId }
    this.key = sessionKey(row)
    this.#needs = needs
    this.record = new SessionRecord(opened, needs)
    this.filters = new Filters(row.app, row.member, row.filters)
    this.pump = new Pump({ ...needs, moved: (cursor, prefixGrew) => this.#moved(cursor, prefixGrew) })
  }

  // ---- what it follows ----

  /** Takes up where the session was; what was in flight goes out first. */
  async resume(): Promise<void> {
    this.#needs.delivery.add(this)
    const rows = this.filters.size > 0 ? this.#needs.store.cursors(this.record.row) : undefined
    if (!this.record.kept) this.#rows = rows
    if (rows) await this.#cover(await rows)
    const flights = this.record.row.inFlight.filter(([, conversation]) => this.#cursors.has(conversation))
    if (this.#closed) return
    this.#resumed = true
    this.pump.start(flights.flatMap((flight): Resend[] => this.#resend(flight)))
  }

  #resend([packetId, conversation, from, seq]: StoredFlight): Resend[] {
    const cursor = this.#cursors.get(conversation)
    // What lies below the floor was sent before the reader left and rejoined: it is not shown again.
    return !cursor || seq < cursor.floor ? [] : [{ packetId, cursor, from, seq }]
  }

  /** Grants filters: the position in every conversation that they newly take is its end, fixed before this resolves. */
  async subscribe(granted: readonly (readonly [string, Filter])[]): Promise<void> {
    for (const [filter, options] of granted) this.filters.set(filter, options)
    this.#reroute()
    await this.#cover(undefined)
    await this.record.save(this.filters.stored())
  }

  /** Takes filters back. Whether each was there. */
  async unsubscribe(filters: readonly string[]): Promise<boolean[]> {
    // Conversations that the member has left have rows, too.
    const rows = await (this.record.kept ? this.#needs.store.cursors(this.record.row) : this.#rows)
    if (this.#closed) return []
    const held = filters.map(filter => this.filters.delete(filter))
    this.#reroute()
    const known = [...this.#cursors.keys(), ...this.#left.keys(), ...(rows?.keys() ?? [])] as ConversationId[]
    const gone = [...new Set(known)].filter(conversation => !this.#takes(conversation))
    for (const conversation of gone) {
      const cursor = this.#cursors.get(conversation)
      if (cursor) this.#drop(cursor)
      this.#left.delete(conversation)
      rows?.delete(conversation)
    }
    await this.record.save(this.filters.stored(), gone)
    return held
  }

  /** The member came into a conversation with that entry, and gets it and what follows. Whether this was news. */
  joined(conversation: ConversationId, joinedSeq: Seq): boolean {
    const cursor = this.#listen({ conversation, joinedSeq })
    if (!cursor) return false
    const before = this.#left.get(conversation)
    const row = () =>
      this.record.kept
        ? this.#needs.store.cursor(this.record.row, conversation)
        : this.#rows?.then(rows => rows.get(conversation))
    const stored = before?.stored(0) ?? row()
    Promise.resolve(stored).then(
      row => this.#place(cursor, row),
      error => {
        // Without its row it starts at the joining entry: nothing that it may have is lost.
        this.#needs.failed('cursor', error)
        this.#place(cursor, undefined)
      },
    )
    return true
  }

  /** From now on nothing of the conversation is sent, neither new nor waiting. */
  leaves(conversation: ConversationId): void {
    this.#leftMeanwhile.add(conversation)
    const cursor = this.#cursors.get(conversation)
    if (!cursor) return
    this.#drop(cursor)
    // One that had not found its position yet knows less than the one before, or than its row.
    if (cursor.placed) this.#left.set(conversation, cursor)
  }

  lost(conversation: ConversationId): void {
    this.#lookAgain(conversation).catch(error => {
      this.#needs.failed('lost', error)
      this.#needs.scheduler.after(AGAIN_MS, () => this.lost(conversation))
    })
  }

  /** Whether the member is still in, and how far the conversation went. */
  async #lookAgain(conversation: ConversationId): Promise<void> {
    const cursor = this.#cursors.get(conversation)
    if (!cursor || this.#closed) return
    const { memberships, log } = this.#needs
    const place = await memberships.get(this.id.app, this.id.member, conversation)
    const [tail] = place ? await log.tails([cursor.key]) : []
    if (this.#closed || this.#cursors.get(conversation) !== cursor) return
    if (!place || place.joinedSeq > cursor.floor + 1) this.leaves(conversation)
    if (place && place.joinedSeq > cursor.floor + 1) this.joined(conversation, place.joinedSeq)
    cursor.tail = Math.max(cursor.tail, tail?.seq ?? 0)
    if (cursor.placed && !cursor.left) this.pump.follow(cursor)
  }

  /** Follows all conversations that the filters take. Without `stored`, new ones start at their end. */
  async #cover(stored: ReadonlyMap<string, StoredCursor> | undefined): Promise<void> {
    const { memberships, log } = this.#needs
    const { app, member } = this.id
    let next: string | undefined
    do {
      this.#leftMeanwhile.clear()
      const page = await memberships.of(app, member, next)
      next = page.next
      const current = page.items.filter(({ conversation }) => !this.#leftMeanwhile.has(conversation))
      // Listened to first, then compared with the tail: what becomes durable in between is seen by one of both.
      const fresh = current.flatMap(membership => this.#listen(membership) ?? [])
      const tails = await log.tails(fresh.map(cursor => cursor.key))
      fresh.forEach((cursor, i) => {
        const tail = tails[i]?.seq ?? 0
        cursor.tail = Math.max(cursor.tail, tail)
        this.#place(cursor, stored ? stored.get(cursor.conversation) : { a: Math.max(tail, cursor.floor) })
        if (!stored) this.record.moved(cursor)
      })
    } while (next !== undefined && !this.#closed)
  }

  /** A cursor whose position is not known yet; nothing where no filter takes the conversation. */
  #listen({ conversation, joinedSeq }: Membership): Cursor | undefined {
    if (this.#closed || this.#cursors.has(conversation)) return undefined
    const cursor = new Cursor(this.pump, conversation, keyOf(this.id.app, conversation), joinedSeq - 1)
    cursor.route = this.filters.route(conversation)
    cursor.commandRoute = this.filters.commandRoute(conversation)
    if (!cursor.route && !cursor.commandRoute) return undefined
    cursor.busy = true
    cursor.tail = joinedSeq - 1
    this.#cursors.set(conversation, cursor)
    this.#needs.delivery.listen(cursor, this)
    return cursor
  }

  #place(cursor: Cursor, row: Pick<StoredCursor, 'a' | 's'> | undefined): void {
    if (cursor.left || this.#closed) return
    if (row) cursor.restore(row)
    else this.record.moved(cursor)
    this.#left.delete(cursor.conversation)
    cursor.placed = true
    cursor.busy = false
    this.pump.follow(cursor)
  }

  #drop(cursor: Cursor): void {
    this.pump.leave(cursor)
    this.#needs.delivery.unlisten(cursor)
    this.#cursors.delete(cursor.conversation)
  }

  #takes(conversation: ConversationId): boolean {
    return (this.filters.route(conversation) ?? this.filters.commandRoute(conversation)) !== undefined
  }

  #reroute(): void {
    for (const cursor of this.#cursors.values()) {
      cursor.route = this.filters.route(cursor.conversation)
      cursor.commandRoute = this.filters.commandRoute(cursor.conversation)
    }
  }

  #moved(cursor: Cursor, prefixGrew: boolean): void {
    this.#needs.delivered(1)
    // Of a conversation that was left and rejoined, the new position is the one that is kept.
    if (cursor.left && this.#cursors.has(cursor.conversation)) return
    if (prefixGrew) {
      this.#needs.marks.delivered(this.id.app, this.id.member, cursor.conversation, cursor.acked as Seq)
    }
    // What no filter takes any more has no position.
    if (!cursor.left || this.#left.get(cursor.conversation) === cursor) this.record.moved(cursor)
  }

  /** The connection is gone: the next one, wherever it is, goes on from what this leaves. */
  async close(ending: Ending): Promise<void> {
    this.#closed = true
    this.pump.close()
    this.#needs.delivery.remove(this)
    for (const cursor of this.#cursors.values()) this.#needs.delivery.unlisten(cursor)
    await this.record.close(ending, this.#inFlight())
  }

  /** A connection that ended before it resumed leaves what the one before it left. */
  #inFlight(): StoredFlight[] {
    if (!this.#resumed) return this.record.row.inFlight
    return this.pump
      .unacknowledged()
      .map(({ packetId, flight }) => [packetId, flight.cursor.conversation, flight.from, flight.seq])
  }
}
