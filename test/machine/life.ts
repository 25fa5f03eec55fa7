/** Whether the server has a session, as far as its client can know: for Session Present. */

export interface Wish {
  clean: boolean
  expirySeconds: number
  receiveMaximum?: number
}

/** A CONNECT that was given up may still arrive, this much later. */
const ARRIVAL_MS = 10_000

export class SessionLife {
  readonly #now: () => number
  alive: boolean | 'maybe' = false
  expirySeconds = 0
  /** When the server noticed that the connection was gone: not before, not after. */
  #left: { low: number; high?: number } | undefined
  #attempt: { wish: Wish; at: number } | undefined
  /** From here on the server may notice. */
  #frozenAt: number | undefined

  constructor(now: () => number) {
    this.#now = now
  }

  /** The server may not know yet that the connection is gone. */
  get leaves(): boolean {
    return this.#left !== undefined && this.#left.high === undefined
  }
  /** The connection is gone, and what it left is written. */
  get rests(): boolean {
    return this.#attempt === undefined && this.#left?.high !== undefined
  }
  /** The answer to CONNECT may be lost without a doubt about what the session is then. */
  mayHurry({ clean, expirySeconds }: Wish): boolean {
    return !clean && expirySeconds > 0 && (this.alive === false || expirySeconds === this.expirySeconds)
  }

  connecting(wish: Wish): void {
    this.#attempt = { wish, at: this.#now() }
  }

  /** CONNACK: what was asked for, and whether the session had to be there. */
  connected(): { wish: Wish; expected: boolean | 'maybe' } {
    const { wish, at } = this.#attempt as { wish: Wish; at: number }
    const expected = wish.clean ? false : this.#isThere(at)
    this.#attempt = undefined
    this.#left = undefined
    this.#frozenAt = undefined
    this.alive = true
    this.expirySeconds = wish.expirySeconds
    return { wish, expected }
  }

  #isThere(at: number, laterMs = 0): boolean | 'maybe' {
    if (this.alive !== true || this.expirySeconds === 0) return this.alive === 'maybe' ? 'maybe' : false
    if (!this.#left) return true
    const lifeMs = this.expirySeconds * 1000
    if (this.#now() + laterMs < this.#left.low + lifeMs) return true
    return this.#left.high !== undefined && at >= this.#left.high + lifeMs ? false : 'maybe'
  }

  /**
   * A CONNECT that has no answer is given up; whether it arrived is unknown, and where the session was over another may
   * have begun. Whether the session was there; nothing where no CONNECT is under way.
   */
  gaveUp(): boolean | 'maybe' | undefined {
    if (!this.#attempt) return undefined
    const { wish, at } = this.#attempt
    const was = this.#isThere(at, ARRIVAL_MS)
    this.#attempt = undefined
    this.#left = { low: this.#left?.low ?? this.#now() }
    if (was === true) return was
    this.alive = 'maybe'
    this.expirySeconds = wish.expirySeconds
    return was
  }

  freezes(): void {
    this.#frozenAt = this.#now()
  }

  /** The connection is gone; whether the session goes on. */
  lost(): boolean {
    this.#left = { low: this.#frozenAt ?? this.#now() }
    this.#frozenAt = undefined
    if (this.expirySeconds === 0) this.alive = false
    return this.expirySeconds > 0
  }

  /** By now the server knows that the connection is gone. */
  noticed(): void {
    if (this.#left) this.#left.high ??= this.#now()
  }
  /** The server died, and begins its count anew. */
  crashed(): void {
    if (this.#left) this.#left = { low: this.#left.low }
  }
}
