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
  readonly #partition: string
  readonly #needs: Needs
  #wholeAt = Number.NEGATIVE_INFINITY
  /** Until a look has passed all of them: when it began, and up to which time what it found is done. */
  #look = { at: Number.NEGATIVE_INFINITY, from: 0 }

  /** `index`: one of the table's with times as sort values, and of it the partition that has its name unless another is named. */
  constructor(table: Table<Row>, index: string, { records, scheduler }: Needs, partition = index) {
    this.#table = table
    this.#index = index
    this.#partition = partition
    this.#needs = { records, scheduler }
  }

  /** The first of them, at most so many. */
  async first(limit: number): Promise<Found<Row>[]> {
    const { records, scheduler } = this.#needs
    const index = this.#index
    const now = scheduler.now()
    const isWhole = Math.abs(now - this.#wholeAt) >= WHOLE_MS
    if (Math.abs(now - this.#look.at) >= WHOLE_MS) this.#look = { at: now, from: 0 }
    const page: Found<Row>[] = []
    for (const [from, below] of isWhole ? wholly(now) : [lately(now)]) {
      const start = Math.max(from, this.#look.from)
      const range = { index, from: sortable(start), below: sortable(below), limit: limit - page.length }
      if (start < below && page.length < limit) page.push(...(await records.scan(this.#table, this.#partition, range)))
    }
    const [first] = page
    const isLate = first !== undefined && this.#timeOf(first) < now - LATE_MS
    // What is late comes in every page until it is dealt with. What lies before it is: its marks are not passed again.
    if (isLate) this.#look.from = this.#timeOf(first)
    else if (isWhole) [this.#wholeAt, this.#look] = [now, { at: now, from: 0 }]
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
