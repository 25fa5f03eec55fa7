/**
 * What a session must hold: its filters, its position in every conversation, and what is in flight. What is told to it
 * is what the client does and gets; it says at once what the client may not get, and at quiet moments what is missing.
 */
import { ANY, Filters, HELD, type Hold, SOUGHT } from './filters.ts'
import { SessionLife, type Wish } from './life.ts'
import type { Log } from './log.ts'
import { type Flight, Seat } from './seat.ts'

export interface Received {
  topic: string
  qos: number
  dup: boolean
  id: number
  payload: Buffer
}
/** How something came. */
interface Seen {
  dup: boolean
  /** In place of what retention removed. */
  trimmed: boolean
  says: string
}
export interface Limits {
  windowMessages: number
  windowBytes: number
}
interface Needs {
  user: string
  name: string
  log: Log
  limits: Limits
  now(): number
  wrong(what: string): void
}

const CONVERSATIONS = ['g:ops', 'u:alice:bob', 'n:alice', 'n:bob']
const FOREVER = Number.POSITIVE_INFINITY
/** A window of so many bytes is never what holds an entry back. */
const MANY_BYTES = 100_000

export class SessionModel {
  readonly #needs: Needs
  readonly filters = new Filters()
  readonly #seats = new Map<string, Seat>()
  /** In the order of sending. */
  #flights: Flight[] = []
  /** Unacknowledged on this connection, what is not resent any more included. */
  readonly here = new Map<number, Flight>()
  readonly life: SessionLife
  connected = false
  frozen = false
  /** The server may have sent what the client did not get. */
  #blind = false
  /** The server was not told that the connection is gone. */
  #silent = false
  #ask: { filter: string; before: Hold | undefined; wasIn: boolean; wasOut: boolean } | undefined
  /** What must come again on this connection, from here on. */
  #resends: Flight[] = []
  #freshCame = false
  #limit = 0
  received = 0

  constructor(needs: Needs) {
    this.#needs = needs
    this.life = new SessionLife(needs.now)
  }

  get asking(): boolean {
    return this.#ask !== undefined
  }
  #wrong(what: string): void {
    this.#needs.wrong(`${this.#needs.name}: ${what}`)
  }

  // ---- the connection ----

  connecting(wish: Wish): void {
    this.life.connecting(wish)
  }

  connack(present: boolean): void {
    const { wish, expected } = this.life.connected()
    if (expected !== 'maybe' && present !== expected) this.#wrong(`Session Present is ${present}`)
    if (!present) this.#forget()
    this.connected = true
    this.frozen = false
    this.#freshCame = false
    this.#resends = [...this.#flights]
    const { windowMessages } = this.#needs.limits
    this.#limit = Math.min(wish.receiveMaximum ?? windowMessages, windowMessages)
  }

  #forget(): void {
    this.filters.clear()
    this.#seats.clear()
    this.#flights = []
    this.#blind = false
  }

  /** The connection is gone for the client, and will be for the server; in the middle of something unless `calm`. */
  lost(calm: boolean, silently = false): void {
    this.#silent = silently || this.frozen
    const was = this.life.gaveUp()
    if (was === false) this.#forget()
    if (was === 'maybe') {
      this.filters.doubt()
      for (const seat of this.#seats.values()) seat.loosen()
    }
    if (!this.connected) {
      // The server may have taken the CONNECT that was given up, and sent what the one before had no room for.
      this.#blind = true
      return
    }
    this.connected = false
    this.frozen = false
    this.#ask = undefined
    this.here.clear()
    for (const flight of this.#flights) {
      flight.here = false
      if (flight.acked) flight.unsure = true
    }
    for (const seat of this.#seats.values()) seat.doubt()
    if (!calm || this.#silent) this.#blind = true
    if (!this.life.lost()) this.#forget()
  }

  /** The line is silent, which the client does not know. */
  freezes(): void {
    this.frozen = true
    this.life.freezes()
  }

  // ---- filters ----

  subscribing(filter: string): void {
    const { log, user } = this.#needs
    const isIn = log.isIn(user, 'g:ops')
    const before = this.filters.get(filter)
    this.#ask = { filter, before, wasIn: isIn, wasOut: !isIn }
    if (!before) this.filters.set(filter, 'asked')
    for (const conversation of CONVERSATIONS) {
      if (this.#seats.has(conversation) || !log.isIn(user, conversation) || !this.filters.take(conversation, ANY))
        continue
      this.#seats.set(conversation, new Seat(log.tail(conversation) + 1, FOREVER, false))
    }
  }

  suback(codes: readonly number[]): void {
    if (!this.#ask) {
      this.#wrong('a SUBACK that nobody waits for')
      return
    }
    const { filter, before, wasIn, wasOut } = this.#ask
    this.#ask = undefined
    const granted = codes.length === 1 && codes[0] === 1
    const open = filter !== 'im/g/ops/message'
    if (granted ? !open && !wasIn : open || !wasOut) this.#wrong(`SUBACK of ${filter} says ${codes}`)
    if (granted) this.filters.set(filter, 'held')
    else if (before === undefined) this.filters.delete(filter)
    for (const [conversation, seat] of this.#seats)
      if (this.filters.take(conversation, HELD)) seat.settle(this.#needs.log.tail(conversation))
    this.#prune()
  }

  unsubscribing(filter: string): void {
    const before = this.filters.get(filter)
    this.#ask = { filter, before, wasIn: true, wasOut: true }
    if (before) this.filters.set(filter, 'doubted')
    for (const [conversation, seat] of this.#seats) if (!this.filters.take(conversation, HELD)) seat.loosen()
  }

  unsuback(codes: readonly number[], version: number): void {
    if (!this.#ask) {
      this.#wrong('an UNSUBACK that nobody waits for')
      return
    }
    const { filter, before } = this.#ask
    this.#ask = undefined
    const known = before === 'held' ? 0 : before === undefined ? 0x11 : codes[0]
    if (version === 5 && codes[0] !== known) this.#wrong(`UNSUBACK of ${filter} says ${codes}`)
    this.filters.delete(filter)
    this.#prune()
  }

  /** What no filter takes any more has no position; what is in flight of it is not sent again. */
  #prune(): void {
    for (const conversation of this.#seats.keys())
      if (!this.filters.take(conversation, ANY)) this.#seats.delete(conversation)
    this.#flights = this.#flights.filter(({ conversation, seat }) => this.#seats.get(conversation) === seat)
  }

  // ---- membership ----

  joined(conversation: string, seq: number): void {
    if (this.#ask) this.#ask.wasIn = true
    if (!this.filters.take(conversation, ANY)) return
    const seat = this.#seats.get(conversation)
    if (seat) {
      seat.rejoined(seq)
      return
    }
    const fresh = new Seat(seq, this.filters.take(conversation, HELD) ? seq - 1 : FOREVER, true)
    if (!this.filters.take(conversation, SOUGHT)) fresh.loosen()
    this.#seats.set(conversation, fresh)
  }
  left(conversation: string): void {
    if (this.#ask) this.#ask.wasOut = true
    this.#seats.get(conversation)?.doubt()
  }

  // ---- what comes ----

  came({ topic, qos, dup, id, payload }: Received): void {
    this.received++
    const entry = JSON.parse(payload.toString()) as Record<string, unknown>
    const conversation = entry.conversation as string
    const gap = entry.kind === 'gap'
    const seq = (gap ? entry.to : entry.seq) as number
    const from = (gap ? entry.from : seq) as number
    const trimmed = entry.reason === 'retention'
    const says = `${gap ? `gap ${from} to` : 'entry'} ${seq} of ${conversation}, id ${id}${dup ? ', DUP' : ''}`
    if (!this.connected) {
      this.#wrong(`${says} came before CONNACK`)
      return
    }
    if (qos !== 1) this.#wrong(`${says} came at QoS ${qos}`)
    if (this.here.has(id)) this.#wrong(`${says} came with an id that is in use`)
    if (!this.filters.topics(this.#needs.user, conversation).includes(topic)) this.#wrong(`${says} came on ${topic}`)
    if (!gap) this.#mustBeStored(conversation, seq, payload, says)
    const seat = this.#seats.get(conversation)
    if (!seat) {
      this.#wrong(`${says} came, and no filter takes it`)
      return
    }
    const known = dup && this.#resent(id, seat, from, seq)
    const flight = known || {
      id,
      conversation,
      from,
      seq,
      gap,
      bytes: payload.length,
      seat,
      here: true,
      acked: false,
      unsure: false,
      optional: seat.optional,
    }
    if (!known) this.#fresh(seat, flight, { dup, trimmed, says })
    flight.here = true
    flight.acked = false
    flight.unsure = false
    this.here.set(id, flight)
    if (this.here.size > this.#limit) this.#wrong(`${says} is more than the window of ${this.#limit}`)
  }

  #mustBeStored(conversation: string, seq: number, payload: Buffer, says: string): void {
    const { log, user } = this.#needs
    const stored = log.at(conversation, seq)
    if (!stored || payload.compare(stored.bytes) !== 0) this.#wrong(`${says} is not what is stored`)
    if (seq < log.first(conversation)) this.#wrong(`${says} was removed`)
    if (!log.stay(user, conversation, seq)) this.#wrong(`${says} came to one who was not a member`)
  }

  /** One that was in flight, in the order in which they were sent. */
  #resent(id: number, seat: Seat, from: number, seq: number): Flight | undefined {
    for (let at = 0; at < this.#resends.length; at++) {
      const flight = this.#resends[at] as Flight
      if (flight.id === id && flight.seat === seat && flight.seq === seq && flight.from === from) {
        this.#resends.splice(0, at + 1)
        return flight
      }
      if (!this.#mayStayAway(flight)) return undefined
    }
    return undefined
  }
  #mayStayAway(flight: Flight): boolean {
    return flight.acked || this.#isOver(flight)
  }
  /** No filter takes it, or the member has left since. */
  #isOver({ optional, seat, conversation, seq }: Flight): boolean {
    const { log, user } = this.#needs
    const stay = log.stay(user, conversation)
    return optional || this.#seats.get(conversation) !== seat || stay?.left !== FOREVER || seq < stay.joined - 1
  }

  #fresh(seat: Seat, flight: Flight, { dup, trimmed, says }: Seen): void {
    const left = this.#resends.filter(waiting => !this.#mayStayAway(waiting))
    if (left.length > 0)
      this.#wrong(`${says} came before ${left[0]?.seq} of ${left[0]?.conversation}, which is in flight`)
    if (dup && (this.#freshCame || !this.#blind)) this.#wrong(`${says} was never sent before`)
    if (!dup) {
      this.#freshCame = true
      if (this.here.size >= this.#room) this.#wrong(`${says} is more than entries have of the window`)
    }
    const { conversation, from, seq } = flight
    const bounds = this.#needs.log.trims.get(conversation) ?? []
    const wrong = trimmed
      ? seat.trimmed(from, seq, dup, bounds)
      : flight.gap
        ? seat.gap(from, seq, dup)
        : seat.entry(seq, dup)
    if (wrong) this.#wrong(`${says}: ${wrong}`)
    if (flight.gap && !trimmed) {
      this.#flights = this.#flights.filter(other => other.seat !== seat || other.seq >= flight.seq)
      this.#resends = this.#resends.filter(other => this.#flights.includes(other))
    }
    seat.unacked.set(flight.seq, flight)
    this.#flights.push(flight)
  }

  /** A share of the window is kept for what is not entries. */
  get #room(): number {
    return this.#limit - Math.min(8, Math.floor(this.#limit / 4))
  }

  /** PUBACK of the client. */
  acknowledges(id: number): void {
    const flight = this.here.get(id)
    this.here.delete(id)
    if (!flight) return
    flight.acked = true
    flight.here = false
  }

  // ---- moments ----

  /** Nothing is under way: what was open is settled, and nothing may be missing. */
  quiet(): void {
    if (this.frozen) return
    if (!this.connected) {
      if (this.#silent) return
      for (const seat of this.#seats.values()) seat.closed()
      this.life.noticed()
      return
    }
    if (this.#ask) this.#wrong(`${this.#ask.filter} has no answer`)
    for (const seat of this.#seats.values()) seat.placed()
    if (!this.#resolveFlights()) return
    this.#blind = false
    const few = this.#needs.limits.windowBytes < MANY_BYTES
    const full = this.here.size >= this.#room || (few && this.here.size > 0)
    for (const [conversation, seat] of this.#seats) {
      if (full) continue
      const owed = this.#owed(conversation, seat)
      if (owed === undefined) this.#settle(conversation, seat)
      else this.#wrong(`${owed} of ${conversation} does not come`)
    }
  }

  /** What was acknowledged is, and what was to come again has; false where the window keeps it waiting. */
  #resolveFlights(): boolean {
    const waits = this.here.size >= this.#limit
    const missing = this.#resends.find(flight => !this.#mayStayAway(flight))
    if (missing && !waits) this.#wrong(`${missing.seq} of ${missing.conversation} is not sent again`)
    if (!waits) this.#resends = []
    const open = new Set(this.#resends)
    for (const flight of this.#flights) {
      // Of what would not come again either way it stays unknown whether its acknowledgement arrived.
      const known = !flight.unsure || !this.#isOver(flight)
      if (flight.acked && !flight.here && !open.has(flight) && known) flight.seat.acknowledged(flight)
    }
    this.#flights = this.#flights.filter(flight => flight.here || open.has(flight))
    return !waits
  }

  /** The first entry that must come and has not. */
  #owed(conversation: string, seat: Seat): number | undefined {
    const { log, user } = this.#needs
    if (seat.optional || !this.filters.take(conversation, HELD) || !log.isIn(user, conversation)) return undefined
    const floor = (log.stay(user, conversation)?.joined ?? 1) - 1
    const again = [...seat.must.keys()].filter(seq => seq >= floor)
    if (again.length > 0) return Math.min(...again)
    const next = Math.max(seat.next, seat.startBy + 1)
    return next <= log.tail(conversation) ? next : undefined
  }

  /** All of it has come: the position is known. */
  #settle(conversation: string, seat: Seat): void {
    const { log, user } = this.#needs
    if (seat.optional || !this.filters.take(conversation, HELD) || !log.isIn(user, conversation)) return
    seat.may.clear()
    seat.next = Math.max(seat.next, log.tail(conversation) + 1)
    seat.startBy = seat.next - 1
  }

  flushed(): void {
    if (this.connected && !this.frozen) for (const seat of this.#seats.values()) seat.flushed()
  }
  /** An entry of any conversation became durable. */
  appended(): void {
    if (this.life.leaves) this.#blind = true
    for (const seat of this.#seats.values()) seat.synced()
  }

  /** The server's process died; `stable`: the session was away, and what its connection left was written. */
  crashed(power: boolean): void {
    const stable = !this.connected && this.life.rests
    this.lost(false)
    this.#silent = false
    if (stable || this.life.alive === false) return
    for (const seat of this.#seats.values()) seat.crash(power)
    this.#flights = []
    this.#blind = true
    this.life.crashed()
  }
  /** The server is there again: whoever was connected before is away from now on. */
  restarted(): void {
    this.life.noticed()
  }
}
