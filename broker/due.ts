/** Sessions whose time has come, by an index of times: what lies far behind was done long ago, and is looked at seldom. */
import { type Found, type Records, type Scheduler, sortable } from '../core/ports.ts'
import { SESSIONS, type SessionRow } from './session-rows.ts'

/** What is written so much later than its time is still found at once. */
const LATE_MS = 600_000
/** Storage keeps marks of what was removed: all of them are passed only so often, for what came later still. */
const WHOLE_MS = 600_000

export class Due {
  readonly #records: Pick<Records, 'scan'>
  readonly #scheduler: Pick<Scheduler, 'now'>
  readonly #index: 'wills' | 'ends'
  #wholeAt = Number.NEGATIVE_INFINITY

  constructor(index: 'wills' | 'ends', records: Pick<Records, 'scan'>, scheduler: Pick<Scheduler, 'now'>) {
    this.#index = index
    this.#records = records
    this.#scheduler = scheduler
  }

  /** The first of them, at most so many. */
  async first(limit: number): Promise<Found<SessionRow>[]> {
    const index = this.#index
    const now = this.#scheduler.now()
    const isWhole = now - this.#wholeAt >= WHOLE_MS
    const from = sortable(isWhole ? 0 : Math.max(0, now - LATE_MS))
    const page = await this.#records.scan(SESSIONS, index, { index, from, below: sortable(now + 1), limit })
    // What is late comes in every page until it is dealt with.
    if (isWhole && page.every(({ row }) => timeOf(index, row) >= now - LATE_MS)) this.#wholeAt = now
    return page
  }
}

const timeOf = (index: 'wills' | 'ends', { willAt = 0, expiresAt = 0 }: SessionRow) =>
  index === 'wills' ? willAt : expiresAt
