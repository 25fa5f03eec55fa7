/** What of a session is in flight: what came and has no acknowledgement on this connection, and what must come again on it. */
import type { Flight, Seat } from './seat.ts'

export class Flights {
  /** In the order of sending. */
  #all: Flight[] = []
  /** Unacknowledged on this connection, what is not resent any more included. */
  readonly here = new Map<number, Flight>()
  /** What must come again on this connection, from here on. */
  #resends: Flight[] = []
  /** Most that may be here. */
  limit = 0
  readonly #isOver: (flight: Flight) => boolean

  /** @param isOver whether it does not come again, acknowledged or not */
  constructor(isOver: (flight: Flight) => boolean) {
    this.#isOver = isOver
  }

  /** A share of the window is kept for what is not entries. */
  get room(): number {
    return this.limit - Math.min(8, Math.floor(this.limit / 4))
  }
  get full(): boolean {
    return this.here.size >= this.limit
  }
  /** The first that must come again and has not. */
  get missing(): Flight | undefined {
    return this.#resends.find(flight => !this.#mayStayAway(flight))
  }

  connected(limit: number): void {
    this.#resends = [...this.#all]
    this.limit = limit
  }
  lost(): void {
    this.here.clear()
    for (const flight of this.#all) {
      flight.here = false
      if (flight.acked) flight.unsure = true
    }
  }
  forget(): void {
    this.#all = []
  }
  /** What is in flight of other seats is not sent again. */
  keep(stays: (flight: Flight) => boolean): void {
    this.#all = this.#all.filter(stays)
  }

  /** One that was in flight, in the order in which they were sent. */
  resent(id: number, seat: Seat, from: number, seq: number): Flight | undefined {
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

  /** One that was not; where it is a gap for a stay that is over, what was in flight before it does not come any more. */
  add(flight: Flight, ends: boolean): void {
    if (ends) {
      this.#all = this.#all.filter(other => other.seat !== flight.seat || other.seq >= flight.seq)
      this.#resends = this.#resends.filter(other => this.#all.includes(other))
    }
    flight.seat.unacked.set(flight.seq, flight)
    this.#all.push(flight)
  }

  /** It is here, whether it came before or not. */
  came(flight: Flight): void {
    flight.here = true
    flight.acked = false
    flight.unsure = false
    this.here.set(flight.id, flight)
  }

  /** PUBACK of the client. */
  acknowledges(id: number): void {
    const flight = this.here.get(id)
    this.here.delete(id)
    if (!flight) return
    flight.acked = true
    flight.here = false
  }

  /** A quiet moment: what was acknowledged is; what was to come again has, unless the window keeps it waiting. */
  quiet(): void {
    if (!this.full) this.#resends = []
    const open = new Set(this.#resends)
    for (const flight of this.#all) {
      // Of what would not come again either way it stays unknown whether its acknowledgement arrived.
      const known = !flight.unsure || !this.#isOver(flight)
      if (flight.acked && !flight.here && !open.has(flight) && known) flight.seat.acknowledged(flight)
    }
    this.#all = this.#all.filter(flight => flight.here || open.has(flight))
  }
}
