/** What a session must hold of one conversation: where it is in it, and what of it is unacknowledged. */

/** An entry, or a gap from `from` to `seq`, that the client received and whose acknowledgement may be missing. */
export interface Flight {
  id: number
  conversation: string
  from: number
  seq: number
  gap: boolean
  bytes: number
  seat: Seat
  /** Received on this connection. */
  here: boolean
  /** The client acknowledged it; whether the server heard of it is not known before the next quiet moment. */
  acked: boolean
  /** Acknowledged on a connection that has ended since. */
  unsure: boolean
  /** Whether it comes again after a reconnect is left open. */
  optional: boolean
}

/** Acknowledged, and known to the server's process, its disk's cache, or its disk. */
type Kept = 'process' | 'cache'

export class Seat {
  /** The next entry that the client has not had; the lowest possible one while the start is open. */
  next: number
  /** The start is at or below this: whatever lies above must come. */
  startBy: number
  /** The filter that takes it may be gone, or may never have been granted: nothing of it is owed. */
  optional = false
  /** How far the server knows it to be acknowledged cannot be told. */
  hazy = false
  /** Entries at which the member came back; what lies before them is told as a gap. */
  rejoins: number[] = []
  /** Where the gap may begin: behind what was acknowledged when the member came back. */
  #gapLow = Number.POSITIVE_INFINITY
  #gapHigh: number | undefined
  /** The last gap: after a crash it may begin as low as what the disk knows. */
  #gap: { to: number; low: number } | undefined
  readonly unacked = new Map<number, Flight>()
  /** Acknowledged entries that a crash brings back: of a kill what only the process knew, of a power cut also the cache. */
  readonly #unflushed = new Map<number, { from: number; kept: Kept }>()
  /** After a crash: what must come again, and what may. Last entry of it → first. */
  readonly must = new Map<number, number>()
  readonly may = new Map<number, number>()
  /** The last entry that came again after a crash. */
  #again = 0
  /** What was in flight when the connection before ended is over: what comes again from here on ascends. */
  #anew = false
  /** Up to here, what was not acknowledged before a crash comes with DUP, whether the client had it or not. */
  mayHaveUpTo = 0

  /** Begun by a member's coming in: its position is written lazily, and by no SUBACK. */
  readonly #joined: boolean

  constructor(next: number, startBy: number, joined: boolean) {
    this.next = next
    this.#joined = joined
    this.startBy = startBy
  }

  /** UNSUBSCRIBE is under way, or a SUBSCRIBE that may begin it anew. */
  loosen(): void {
    this.#kept = 'process'
    this.startBy = Number.POSITIVE_INFINITY
    this.optional = true
    this.hazy = true
    for (const flight of this.unacked.values()) flight.optional = true
    for (const [seq, from] of this.must) this.may.set(seq, from)
    this.must.clear()
  }

  /** The server's process knows the position. */
  #found = false
  /** How sure it is that a crash leaves that there was a position. */
  #kept: Kept | 'disk' = 'process'
  /** The connection or the stay ends: whether the position was ever found is not known. */
  doubt(): void {
    if (this.startBy === Number.POSITIVE_INFINITY || !this.#found) this.hazy = true
  }

  /** SUBACK: it began at the conversation's end at the latest. */
  settle(tail: number): void {
    if (this.startBy === Number.POSITIVE_INFINITY) {
      this.startBy = Math.max(tail, this.next - 1)
      if (!this.#joined) this.#kept = 'disk'
    }
    this.optional = false
  }

  rejoined(seq: number): void {
    if (this.rejoins.length === 0) this.#gapLow = this.#gapFrom(seq - 1)[0]
    this.rejoins.push(seq)
  }
  /** A quiet moment of a connected session: whatever is acknowledged from here on is too late for the gap. */
  placed(tornAt: number): void {
    this.#found = true
    this.mayHaveUpTo = Math.max(this.mayHaveUpTo, tornAt)
    if (this.rejoins.length > 0) this.#gapHigh ??= this.#gapFrom(Number.POSITIVE_INFINITY)[1]
  }

  /** Takes an entry; what is wrong with it, if anything. */
  entry(seq: number, dup: boolean): string | undefined {
    if (seq < this.next) return this.#cameAgain(seq, dup)
    // Without a position of before it begins where the member came back.
    const begins = this.hazy && this.rejoins.includes(seq)
    if (seq > this.next && seq - 1 > this.startBy && !begins) return `${this.next} is missing before ${seq}`
    this.next = seq + 1
    if (!this.optional) this.startBy = seq
    this.rejoins = this.rejoins.filter(joined => joined > seq)
    return undefined
  }

  /** Takes a gap; what is wrong with it, if anything. */
  gap(from: number, to: number, dup: boolean): string | undefined {
    const again = this.must.has(to) || this.may.has(to)
    if (!again && !this.rejoins.includes(to + 1)) return `no gap ends at ${to}`
    const [low, high] = this.#gapFrom(to)
    this.#gap = { to, low }
    if (from < low || from > high) return `the gap to ${to} begins at ${from}, not from ${low} to ${high}`
    if (again && !dup) return 'it came again without DUP'
    if (again) this.#again = to
    for (const lost of [this.must, this.may]) for (const seq of lost.keys()) if (seq <= to) lost.delete(seq)
    for (const seq of this.unacked.keys()) if (seq < to) this.unacked.delete(seq)
    this.#gapLow = Number.POSITIVE_INFINITY
    this.#gapHigh = undefined
    this.hazy = false
    this.next = Math.max(this.next, to + 1)
    this.startBy = Math.max(this.next - 1, this.startBy === Number.POSITIVE_INFINITY ? 0 : this.startBy)
    this.rejoins = this.rejoins.filter(joined => joined > to + 1)
    return undefined
  }

  /** Takes a gap for what retention removed below each of `bounds`; what is wrong with it, if anything. */
  trimmed(from: number, to: number, dup: boolean, bounds: readonly number[]): string | undefined {
    const again = this.must.size + this.may.size > 0
    const open = this.hazy || this.optional || again || this.startBy >= this.next
    if (to >= Math.max(0, ...bounds)) return `${to} is not removed`
    // One that was sent without arriving stands for itself.
    if (!open && (from !== this.next || !(dup || bounds.includes(to + 1)))) return `it is not from ${this.next} on`
    if (open && !again && from < this.next) return `${from} came before`
    for (const lost of [this.must, this.may])
      for (const seq of lost.keys()) if (from <= seq && seq <= to) lost.delete(seq)
    this.next = Math.max(this.next, to + 1)
    if (!this.optional && this.startBy !== Number.POSITIVE_INFINITY) this.startBy = Math.max(this.startBy, to)
    return undefined
  }

  /** A gap begins behind the acknowledged prefix, as the server knows it. */
  #gapFrom(to: number): [number, number] {
    const flights = [...this.unacked.values()]
    const again = [...this.must, ...this.may]
    const told = this.#gap && again.some(([seq]) => seq === this.#gap?.to) ? this.#gap.low : to
    const lows = [...flights.map(({ from }) => from), ...again.map(([, from]) => from), told]
    const low = Math.min(this.#gapLow, this.next, to, ...lows)
    if (this.hazy || this.next <= this.startBy) return [this.hazy ? 1 : low, to]
    if (this.must.has(to) || this.may.has(to)) return [low, to]
    const sure = flights.filter(({ acked }) => !acked).map(({ from }) => from)
    return [low, Math.min(this.#gapHigh ?? this.next, to, ...sure, ...this.must.values())]
  }

  #cameAgain(seq: number, dup: boolean): string | undefined {
    if (!this.must.delete(seq) && !this.may.delete(seq)) return `${seq} came before`
    if (!dup) return `${seq} came again without DUP`
    if (seq < this.#again) {
      if (this.#anew) return `${seq} came again behind ${this.#again}`
      this.#anew = true
    }
    this.#again = seq
    return undefined
  }

  // ---- what is acknowledged ----

  /** The server has handled the acknowledgement. */
  acknowledged(flight: Flight): void {
    if (this.unacked.get(flight.seq) !== flight) return
    this.unacked.delete(flight.seq)
    this.#unflushed.set(flight.seq, { from: flight.from, kept: 'process' })
  }
  /** Time enough has passed for the lazy write. */
  flushed(): void {
    for (const ack of this.#unflushed.values()) ack.kept = 'cache'
    if (this.#found && this.#kept === 'process') this.#kept = 'cache'
  }
  /** Something later than the lazy write was synced. */
  synced(): void {
    for (const [seq, { kept }] of this.#unflushed) if (kept === 'cache') this.#unflushed.delete(seq)
    if (this.#kept === 'cache') this.#kept = 'disk'
  }
  /** The end of the connection was written. */
  closed(): void {
    this.#unflushed.clear()
    if (this.#found) this.#kept = 'disk'
  }

  crash(power: boolean): void {
    if (this.#kept === 'process' || (power && this.#kept === 'cache')) this.hazy = true
    for (const { seq, from, acked, optional } of this.unacked.values())
      (acked || optional ? this.may : this.must).set(seq, from)
    for (const [seq, { from, kept }] of this.#unflushed) if (power || kept === 'process') this.may.set(seq, from)
    this.unacked.clear()
    if (power) this.#unflushed.clear()
    for (const [seq, { kept }] of this.#unflushed) if (kept === 'process') this.#unflushed.delete(seq)
    this.#again = 0
    this.#anew = false
  }
}
