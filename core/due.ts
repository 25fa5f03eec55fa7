/** Rows whose time has come, by an index of times: what lies far behind was done long ago, and is looked at seldom. */
import { type Found, type Records, type Scheduler, sortable, type Table } from './ports.ts'

/** What is written so much later than its time is still found at once. */
const LATE_MS = 600_000
/** Storage keeps marks of what was removed: all of them are passed only so often, for what came later still. */
const WHOLE_MS = 600_000

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
    const isWhole = now - this.#wholeAt >= WHOLE_MS
    const from = sortable(isWhole ? 0 : Math.max(0, now - LATE_MS))
    const page = await records.scan(this.#table, index, { index, from, below: sortable(now + 1), limit })
    // What is late comes in every page until it is dealt with.
    if (isWhole && page.every(found => this.#timeOf(found) >= now - LATE_MS)) this.#wholeAt = now
    return page
  }

  #timeOf(found: Found<Row>): number {
    return Number(this.#table.indexes?.[this.#index]?.(found.row, found)?.sort)
  }
}
