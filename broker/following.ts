/**
 * What a connected session follows: its member's conversations that its filters take, with a cursor in each. One change after
 * the other. What another node says of the member may come late, twice and in any order: entries are told apart by their
 * numbers, and who is in by storage.
 */
import { type DeliveryMarks, keyOf, type Membership, type Memberships } from '../core/ports.ts'
import type { ConversationId, Seq } from '../protocol/ids.ts'
import { Cursor, type StoredCursor } from './cursor.ts'
import type { Delivery, Reading } from './delivery.ts'
import type { Filters } from './filters.ts'
import { Looks, type LooksNeeds } from './looks.ts'
import type { Session } from './session.ts'
import type { SessionId } from './session-rows.ts'

export interface FollowingNeeds extends LooksNeeds {
  memberships: Pick<Memberships, 'of' | 'stored'>
  marks: DeliveryMarks
  delivery: Delivery
  /** Other nodes store entries, too: who is in may change unheard. */
  others: boolean
  /** Resolves when what they say of the member comes. */
  listening(): Promise<void>
}

type Parts = Pick<Session, 'filters' | 'pump' | 'record' | 'torn'>
/** Where a session is in a conversation; nowhere yet, where it begins at the joining entry. */
type Place = StoredCursor | undefined
/** The epoch of a place that is not in storage. */
const UNWRITTEN = 0

export class Following implements Reading {
  readonly id: SessionId
  readonly #needs: FollowingNeeds
  readonly #parts: Parts
  readonly #looks: Looks
  readonly #cursors = new Map<ConversationId, Cursor>()
  /** Of conversations left on this connection, for the gap after rejoining. */
  readonly #left = new Map<ConversationId, Cursor>()
  /** Left since a page of memberships was asked for, with which entry: what it says of them before that is over. */
  #leftMeanwhile = new Map<ConversationId, Seq>()
  /** What other nodes say of the member while filters are taken up: they may have been in before, and nothing of that is new. */
  #early: Map<ConversationId, Seq> | undefined = new Map()
  #closed = false

  constructor(id: SessionId, needs: FollowingNeeds, parts: Parts) {
    this.id = id
    this.#needs = needs
    this.#parts = parts
    this.#looks = new Looks(id, needs)
  }

  get(conversation: ConversationId): Cursor | undefined {
    return this.#cursors.get(conversation)
  }

  /** Takes up where the session was. */
  async resume(): Promise<void> {
    const { filters, record } = this.#parts
    this.#needs.delivery.add(this)
    const listening = this.#needs.listening()
    if (filters.size === 0) return listening
    const [stored] = await Promise.all([record.cursors(), listening])
    await this.#cover(({ conversation }) => stored.get(conversation))
  }

  /**
   * Filters have come or changed: the position in every conversation that they newly take is its end. One that those before took
   * is followed from where the session was, or from its joining entry: it has begun, and nobody has told of it yet.
   */
  async widen(before: Pick<Filters, 'takes'>): Promise<void> {
    for (const cursor of this.#cursors.values()) this.#parts.filters.direct(cursor)
    await this.#cover(cursor => {
      if (before.takes(cursor.conversation)) return this.#before(cursor)
      return { e: UNWRITTEN, a: Math.max(cursor.tail, cursor.floor) }
    })
  }

  /** Filters are gone: what none takes any more is not followed, and returned. `rows`: what is stored of it. */
  narrow(rows: Map<string, StoredCursor>): ConversationId[] {
    const { filters } = this.#parts
    for (const cursor of this.#cursors.values()) filters.direct(cursor)
    const known = [...this.#cursors.keys(), ...this.#left.keys(), ...rows.keys()] as ConversationId[]
    const gone = [...new Set(known)].filter(conversation => !filters.takes(conversation))
    for (const conversation of gone) {
      const cursor = this.#cursors.get(conversation)
      if (cursor) this.#drop(cursor)
      this.#left.delete(conversation)
      rows.delete(conversation)
    }
    return gone
  }

  // ---- members who come and go ----

  /** The member came into a conversation with that entry, and gets it and what follows. */
  joined(conversation: ConversationId, joinedSeq: Seq): void {
    const cursor = this.#enter({ conversation, joinedSeq })
    if (!cursor) return
    this.#before(cursor).then(
      row => this.#place(cursor, row),
      error => {
        // Without its row it starts at the joining entry: nothing that it may have is lost.
        this.#needs.failed('cursor', error)
        this.#place(cursor, undefined)
      },
    )
  }

  /** As `joined`, heard of late: what follows may have passed, and the member may be out again. */
  cameInto(conversation: ConversationId, joinedSeq: Seq): void {
    if (this.#early) return void this.#early.set(conversation, joinedSeq)
    const cursor = this.#enter({ conversation, joinedSeq })
    if (!cursor) return
    this.#surely(cursor, async () => {
      if (await this.#isIn(cursor)) this.#place(cursor, await this.#before(cursor))
    })
  }

  /** From that entry on nothing of the conversation is sent, neither new nor waiting. */
  leaves(conversation: ConversationId, seq: Seq): void {
    this.#leftMeanwhile.set(conversation, seq)
    const cursor = this.#cursors.get(conversation)
    // Otherwise it is told of late: they have come back since.
    if (cursor && seq > cursor.floor) this.#leave(cursor)
  }

  /** Entries of a conversation that it follows may have passed unheard. */
  lost(conversation: ConversationId): void {
    const cursor = this.#cursors.get(conversation)
    if (!cursor) return
    cursor.doubts++
    this.#surely(cursor, async () => {
      if (!(await this.#isIn(cursor))) return
      cursor.doubts--
      if (cursor.placed) this.#parts.pump.follow(cursor)
    })
  }

  /** Whether the member is in, by storage. A cursor of who is not in, or has come back, is left. */
  async #isIn(cursor: Cursor): Promise<boolean> {
    const { tail, place } = await this.#looks.at(cursor)
    if (cursor.left || this.#closed) return false
    cursor.tail = Math.max(cursor.tail, tail)
    if (place?.joinedSeq === cursor.floor + 1) return true
    this.#leave(cursor)
    if (place) this.cameInto(cursor.conversation, place.joinedSeq)
    return false
  }

  /** Until storage has answered: meanwhile the cursor waits for its position, or is in doubt, and nothing of it goes out. */
  #surely(cursor: Cursor, look: () => Promise<void>): void {
    this.#looks.surely(look, () => cursor.left || this.#closed)
  }

  // ---- cursors ----

  /** Follows all conversations that the filters take, each from its place. */
  async #cover(placeOf: (cursor: Cursor) => Place | Promise<Place>): Promise<void> {
    const { app, member } = this.id
    const { memberships, log } = this.#needs
    this.#early ??= new Map()
    let next: string | undefined
    do {
      this.#leftMeanwhile.clear()
      const after = next
      const page = await memberships.of(app, member, after)
      next = page.next
      const current = page.items.filter(at => at.joinedSeq > (this.#leftMeanwhile.get(at.conversation) ?? 0))
      // Listened to first, then compared with the tail: what becomes durable in between is seen by one of both. Who left
      // elsewhere before it was listened to is seen when the page is read again.
      const fresh = current.flatMap(membership => this.#listen(membership) ?? [])
      const tails = await log.tails(fresh.map(cursor => cursor.key))
      const sure = this.#needs.others ? (await memberships.of(app, member, after)).items : current
      const joinedSeqs = new Map(sure.map(({ conversation, joinedSeq }) => [conversation, joinedSeq]))
      for (const [i, cursor] of fresh.entries()) {
        cursor.tail = Math.max(cursor.tail, tails[i]?.seq ?? 0)
        if (joinedSeqs.get(cursor.conversation) !== cursor.floor + 1) await this.#isIn(cursor)
        if (!cursor.left) this.#place(cursor, await placeOf(cursor))
      }
    } while (next !== undefined && !this.#closed)
    const early = this.#early
    this.#early = undefined
    for (const [conversation, joinedSeq] of early) this.cameInto(conversation, joinedSeq)
  }

  /** The cursor of who came in; nothing where it is there. */
  #enter(membership: Membership): Cursor | undefined {
    const known = this.#cursors.get(membership.conversation)
    // They have left in between, which is still to be told.
    if (known && membership.joinedSeq > known.floor + 1) this.#leave(known)
    return this.#listen(membership)
  }

  /** A cursor whose position is not known yet; nothing where no filter takes the conversation. */
  #listen({ conversation, joinedSeq }: Membership): Cursor | undefined {
    if (this.#closed || this.#cursors.has(conversation)) return undefined
    const { filters, pump } = this.#parts
    const cursor = new Cursor(pump, conversation, keyOf(this.id.app, conversation), joinedSeq - 1)
    filters.direct(cursor)
    if (!cursor.route && !cursor.commandRoute) return undefined
    cursor.busy = true
    cursor.tail = joinedSeq - 1
    this.#cursors.set(conversation, cursor)
    this.#needs.delivery.listen(cursor, this)
    return cursor
  }

  /** Where the session was in a conversation before its member left. */
  async #before({ conversation }: Cursor): Promise<Place> {
    return this.#left.get(conversation)?.stored(UNWRITTEN) ?? this.#parts.record.cursor(conversation)
  }

  #place(cursor: Cursor, row: Place): void {
    if (cursor.left || this.#closed) return
    if (this.#parts.torn) cursor.mayHaveUpTo = cursor.tail
    if (!row || !cursor.restore(row) || row.e === UNWRITTEN) this.#parts.record.moved(cursor)
    this.#left.delete(cursor.conversation)
    cursor.placed = true
    cursor.busy = false
    this.#parts.pump.follow(cursor)
  }

  #leave(cursor: Cursor): void {
    this.#drop(cursor)
    // One that had not found its position yet knows less than the one before, or than its row.
    if (cursor.placed) this.#left.set(cursor.conversation, cursor)
  }

  #drop(cursor: Cursor): void {
    this.#parts.pump.leave(cursor)
    this.#needs.delivery.unlisten(cursor)
    this.#cursors.delete(cursor.conversation)
  }

  /** Entries of it were acknowledged; `prefixGrew` when that moved the end of the acknowledged prefix. */
  moved(cursor: Cursor, prefixGrew: boolean): void {
    const { conversation } = cursor
    // Of a conversation that was left and rejoined, the new position is the one that is kept.
    if (cursor.left && this.#cursors.has(conversation)) return
    if (prefixGrew) this.#needs.marks.delivered(this.id.app, this.id.member, conversation, cursor.acked as Seq)
    // What no filter takes any more has no position.
    if (!cursor.left || this.#left.get(conversation) === cursor) this.#parts.record.moved(cursor)
  }

  close(): void {
    this.#closed = true
    this.#needs.delivery.remove(this)
    for (const cursor of this.#cursors.values()) this.#needs.delivery.unlisten(cursor)
  }
}
