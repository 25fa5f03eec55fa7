/**
 * What a session must hold: its filters, its position in every conversation, and what is in flight. What is told to it
 * is what the client does and gets; it says at once what the client may not get, and at quiet moments what is missing.
 */
import { Arrivals, type Received } from './arrivals.ts'
import { Filters, type Hold } from './filters.ts'
import { Flights } from './flights.ts'
import { SessionLife, type Wish } from './life.ts'
import type { Log } from './log.ts'
import type { Flight } from './seat.ts'
import { Seats } from './seats.ts'

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

/** A window of so many bytes is never what holds an entry back. */
const MANY_BYTES = 100_000

export class SessionModel {
  readonly #needs: Needs
  readonly filters = new Filters()
  readonly #seats: Seats
  readonly #flights: Flights
  readonly #arrivals: Arrivals
  readonly life: SessionLife
  connected = false
  frozen = false
  /** The server was not told that the connection is gone. */
  #silent = false
  #ask: { filter: string; before: Hold | undefined; wasIn: boolean; wasOut: boolean } | undefined
  received = 0

  constructor(needs: Needs) {
    this.#needs = needs
    this.life = new SessionLife(needs.now)
    const { filters } = this
    const seats = new Seats(needs, filters)
    const flights = new Flights(flight => seats.isOver(flight))
    const wrong = (what: string) => this.#wrong(what)
    this.#seats = seats
    this.#flights = flights
    this.#arrivals = new Arrivals({ ...needs, filters, seats, flights, wrong, isConnected: () => this.connected })
  }

  /** Unacknowledged on this connection. */
  get here(): ReadonlyMap<number, Flight> {
    return this.#flights.here
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
    this.#arrivals.connected()
    const { windowMessages } = this.#needs.limits
    this.#flights.connected(Math.min(wish.receiveMaximum ?? windowMessages, windowMessages))
  }

  #forget(): void {
    this.filters.clear()
    this.#seats.clear()
    this.#flights.forget()
    this.#arrivals.blind = false
    this.#arrivals.torn = false
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
      this.#arrivals.blind = true
      return
    }
    this.connected = false
    this.frozen = false
    this.#ask = undefined
    this.#flights.lost()
    for (const seat of this.#seats.values()) seat.doubt()
    if (!calm || this.#silent) this.#arrivals.blind = true
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
    this.#seats.sought()
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
    this.#seats.granted()
    this.#prune()
  }

  unsubscribing(filter: string): void {
    const before = this.filters.get(filter)
    this.#ask = { filter, before, wasIn: true, wasOut: true }
    if (before) this.filters.set(filter, 'doubted')
    this.#seats.loosen()
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
    this.#seats.prune()
    this.#flights.keep(({ conversation, seat }) => this.#seats.get(conversation) === seat)
  }

  // ---- membership ----

  joined(conversation: string, seq: number): void {
    if (this.#ask) this.#ask.wasIn = true
    this.#seats.joined(conversation, seq)
  }
  left(conversation: string): void {
    if (this.#ask) this.#ask.wasOut = true
    this.#seats.left(conversation)
  }

  // ---- what comes ----

  came(received: Received): void {
    this.received++
    this.#arrivals.came(received)
  }

  /** PUBACK of the client. */
  acknowledges(id: number): void {
    this.#flights.acknowledges(id)
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
    this.#seats.placed(this.#arrivals.torn)
    this.#arrivals.torn = false
    const { full: waits, missing } = this.#flights
    if (missing && !waits) this.#wrong(`${missing.seq} of ${missing.conversation} is not sent again`)
    this.#flights.quiet()
    if (waits) return
    this.#arrivals.blind = false
    const few = this.#needs.limits.windowBytes < MANY_BYTES
    const full = this.here.size >= this.#flights.room || (few && this.here.size > 0)
    if (!full) for (const owed of this.#seats.settle()) this.#wrong(`${owed} does not come`)
  }

  flushed(): void {
    if (this.connected && !this.frozen) for (const seat of this.#seats.values()) seat.flushed()
  }
  /** An entry of any conversation became durable. */
  appended(): void {
    if (this.life.leaves) this.#arrivals.blind = true
    for (const seat of this.#seats.values()) seat.synced()
  }

  /** The server's process died; `stable`: the session was away, and what its connection left was written. */
  crashed(power: boolean): void {
    const stable = !this.connected && this.life.rests
    this.lost(false)
    this.#silent = false
    if (stable || this.life.alive === false) return
    for (const seat of this.#seats.values()) seat.crash(power)
    this.#flights.forget()
    this.#arrivals.blind = true
    this.#arrivals.torn = true
    this.life.crashed()
  }
  /** The server is there again: whoever was connected before is away from now on. */
  restarted(): void {
    // A connection that was just coming in may have ended with nothing written.
    if (!this.life.rests) this.#arrivals.torn = true
    this.life.noticed()
  }
}
