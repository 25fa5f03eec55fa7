/** The positions of a session: a seat in every conversation that its filters take, as its user comes and goes. */
import { ANY, type Filters, HELD, SOUGHT } from './filters.ts'
import type { Log } from './log.ts'
import { type Flight, Seat } from './seat.ts'

interface Needs {
  user: string
  log: Log
}

const CONVERSATIONS = ['g:ops', 'u:alice:bob', 'n:alice', 'n:bob']
const FOREVER = Number.POSITIVE_INFINITY

export class Seats extends Map<string, Seat> {
  readonly #needs: Needs
  readonly #filters: Filters

  constructor(needs: Needs, filters: Filters) {
    super()
    this.#needs = needs
    this.#filters = filters
  }

  // ---- filters ----

  /** SUBSCRIBE is under way. */
  sought(): void {
    const { log, user } = this.#needs
    for (const conversation of CONVERSATIONS) {
      if (this.has(conversation) || !log.isIn(user, conversation) || !this.#filters.take(conversation, ANY)) continue
      this.set(conversation, new Seat(log.tail(conversation) + 1, FOREVER, false))
    }
  }
  /** SUBACK. */
  granted(): void {
    for (const [conversation, seat] of this)
      if (this.#filters.take(conversation, HELD)) seat.settle(this.#needs.log.tail(conversation))
  }
  /** A quiet moment of a connected session; `torn`: of one behind a connection that died. */
  placed(torn: boolean): void {
    for (const [conversation, seat] of this) seat.placed(torn ? this.#needs.log.tail(conversation) : 0)
  }
  /** UNSUBSCRIBE is under way. */
  loosen(): void {
    for (const [conversation, seat] of this) if (!this.#filters.take(conversation, HELD)) seat.loosen()
  }
  /** What no filter takes any more has no position. */
  prune(): void {
    for (const conversation of this.keys()) if (!this.#filters.take(conversation, ANY)) this.delete(conversation)
  }

  // ---- membership ----

  joined(conversation: string, seq: number): void {
    if (!this.#filters.take(conversation, ANY)) return
    const seat = this.get(conversation)
    if (seat) {
      seat.rejoined(seq)
      return
    }
    const fresh = new Seat(seq, this.#filters.take(conversation, HELD) ? seq - 1 : FOREVER, true)
    if (!this.#filters.take(conversation, SOUGHT)) fresh.loosen()
    this.set(conversation, fresh)
  }
  left(conversation: string): void {
    this.get(conversation)?.doubt()
  }
  /** No filter takes it, or the member has left since. */
  isOver({ optional, seat, conversation, seq }: Flight): boolean {
    const { log, user } = this.#needs
    const stay = log.stay(user, conversation)
    return optional || this.get(conversation) !== seat || stay?.left !== FOREVER || seq < stay.joined - 1
  }

  // ---- quiet moments ----

  /** Where all has come the position is known; else the first entry that must come and has not. */
  settle(): string[] {
    const owed: string[] = []
    for (const [conversation, seat] of this) {
      const { log, user } = this.#needs
      if (seat.optional || !this.#filters.take(conversation, HELD) || !log.isIn(user, conversation)) continue
      const first = this.#owed(conversation, seat)
      if (first !== undefined) owed.push(`${first} of ${conversation}`)
      else {
        seat.may.clear()
        seat.next = Math.max(seat.next, log.tail(conversation) + 1)
        seat.startBy = seat.next - 1
      }
    }
    return owed
  }

  #owed(conversation: string, seat: Seat): number | undefined {
    const { log, user } = this.#needs
    const floor = (log.stay(user, conversation)?.joined ?? 1) - 1
    const again = [...seat.must.keys()].filter(seq => seq >= floor)
    if (again.length > 0) return Math.min(...again)
    const next = Math.max(seat.next, seat.startBy + 1)
    return next <= log.tail(conversation) ? next : undefined
  }
}
