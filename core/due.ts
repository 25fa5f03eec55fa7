/** Rows whose time has come, by an index of times: what lies far behind was done long ago, and is looked at seldom. */
import type { EpochMs } from '../protocol/ids.ts'
import { type Found, type Records, type Scheduler, sortable, type Table } from './ports.ts'

/** What is written so much later than its time is still found at once. */
const LATE_MS = 600_000
/** Storage keeps marks of what was removed, for hours: all of them are passed only so often, for what came later still. */
const WHOLE_MS = 600_000
/** Then so many spans of that length are looked at one by one: of too many marks in one scan, storage gives up. */
const SPANS = 24

interface Needs {
  records: Pick<Records, 'scan'>
  scheduler: Pick<Scheduler, 'now'>
}

export class Due<Row extends object> {
  readonly #table: Table<Row>
  readonly #index: string
  readonly #needs: Needs
  #wholeAt = Number.NEGATIVE_INFINITY

  /** `index`: one of the table's whose partition has its name, with times as sort values. */
  constructor(table: Table<Row>, index: string, { records, scheduler }: Needs) {
    this.#table = table
    this.#index = index
    this.#needs = { records, scheduler }
  }

  /** The first of them, at most so many. */
  async first(limit: number): Promise<Found<Row>[]> {
    const { records, scheduler } = this.#needs
    const index = this.#index
    const now = scheduler.now()
    const isWhole = Math.abs(now - this.#wholeAt) >= WHOLE_MS
    const page: Found<Row>[] = []
    for (const [from, below] of isWhole ? wholly(now) : [lately(now)]) {
      const range = { index, from: sortable(from), below: sortable(below), limit: limit - page.length }
      if (page.length < limit) page.push(...(await records.scan(this.#table, index, range)))
    }
    // What is late comes in every page until it is dealt with.
    if (isWhole && page.every(found => this.#timeOf(found) >= now - LATE_MS)) this.#wholeAt = now
    return page
  }

  #timeOf(found: Found<Row>): number {
    return Number(this.#table.indexes?.[this.#index]?.(found.row, found)?.sort)
  }
}

type Span = readonly [from: EpochMs, below: EpochMs]

const lately = (now: EpochMs): Span => [Math.max(0, now - LATE_MS), now + 1]
function wholly(now: EpochMs): Span[] {
  const first = Math.max(0, now - SPANS * LATE_MS)
  const spans = Array.from(
    { length: SPANS - 1 },
    (_, nth): Span => [first + nth * LATE_MS, first + (nth + 1) * LATE_MS],
  )
  return [[0, first], ...spans, lately(now)]
}
