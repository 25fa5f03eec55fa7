/** Records over Cassandra. */
import type { Change, Found, Records, RowKey, ScanRange, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { mustFit, part } from '../shape.ts'
import { CELL, type Cell, cellOf, homeOf, markApplied, type Place, placeOf, readCell } from './cells.ts'
import { type Decisions, decidedCell, type Lock } from './decisions.ts'
import { cursorOf, isTrue, scanIndex, scanRows } from './places.ts'
import type { Redo } from './redo.ts'
import type { Ring } from './ring.ts'
import { Turns } from './turns.ts'
import type { Writer } from './writer.ts'

interface Needs {
  ring: Ring
  writer: Writer
  decisions: Decisions
  redo: Redo
}

const MAX_CHANGES = 20_000
const MAX_ROWS = 1_000

export class CassandraRecords implements Records {
  readonly #needs: Needs
  readonly #turns = new Turns()

  constructor(needs: Needs) {
    this.#needs = needs
  }

  async get<Row>(from: Table<Row>, partition: string, key: string): Promise<Found<Row> | undefined> {
    const place = placeOf({ table: from as Table<never>, partition, key })
    const [row] = await this.#needs.ring.read(...readCell(place))
    return foundOf(place, await this.#settled(place, cellOf(row)), cursorOf(key))
  }

  getMany<Row>(from: Table<Row>, keys: readonly RowKey[]): Promise<(Found<Row> | undefined)[]> {
    return this.#needs.ring.each(keys, ({ partition, key }) => this.get(from, partition, key))
  }

  async scan<Row>(from: Table<Row>, partition: string, range: ScanRange): Promise<Found<Row>[]> {
    const { index, limit } = range
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS)
      throw new Fault('malformed', { issues: [{ path: ['limit'], message: 'From 1 to 1,000.' }] })
    if (index !== undefined) return this.#scanIndex(from, index, partition, range)
    if (from.spread) throw new TypeError(`Rows of ${from.name} are apart: it is scanned by an index.`)
    return this.#scanTable(from, partition, range)
  }

  async write(changes: readonly Change[]): Promise<void> {
    mustBeGood(changes)
    const homes = changes.map(change => placeOf(change).home)
    if (changes.length > 0) await this.#turns.run(homes, () => this.#needs.writer.write(changes))
  }

  async #scanTable<Row>(from: Table<Row>, partition: string, range: ScanRange): Promise<Found<Row>[]> {
    const { ring } = this.#needs
    const home = homeOf(from, { partition, key: '' })
    const found: Found<Row>[] = []
    let { after } = range
    // Removed rows are still read for a while, and are nobody's: the more there are, the larger the steps past them.
    for (let limit = range.limit; ; limit = Math.min(4 * limit, MAX_ROWS)) {
      const rows = await scanRows(
        ring,
        CELL,
        { home, table: from.name, partition },
        { ...range, limit, ...(after !== undefined && { after }) },
      )
      for (const row of rows) {
        const place: Place = { home, table: from as Table<never>, partition, key: row.key as string }
        after = cursorOf(place.key)
        const one = foundOf<Row>(place, await this.#settled(place, cellOf(row)), after)
        if (one) found.push(one)
        if (found.length === range.limit) return found
      }
      if (rows.length < limit) return found
    }
  }

  async #scanIndex<Row>(from: Table<Row>, index: string, partition: string, range: ScanRange): Promise<Found<Row>[]> {
    if (!from.indexes || !Object.hasOwn(from.indexes, index))
      throw new Error(`Table ${from.name} has no index ${index}.`)
    const found: Found<Row>[] = []
    for (let { after } = range; ; ) {
      const wanted = { ...range, limit: range.limit - found.length, ...(after !== undefined && { after }) }
      const entries = await scanIndex(this.#needs.ring, from as Table<never>, index, partition, wanted)
      const rows = await this.getMany(
        from,
        entries.map(({ row }) => row),
      )
      entries.forEach((entry, nth) => {
        const one = rows[nth]
        const place = placeOf({ table: from as Table<never>, ...entry.row })
        if (one && isTrue(entry, place, one.row)) found.push({ ...one, cursor: entry.cursor })
        after = entry.cursor
      })
      if (entries.length < wanted.limit || found.length === range.limit) return found
    }
  }

  /** A row as it was decided, with all that belongs to its last write done. */
  async #settled(place: Place, cell: Cell): Promise<Cell> {
    const { ring, writer, decisions, redo } = this.#needs
    const lock = cell.lock === undefined ? undefined : (JSON.parse(cell.lock) as Lock)
    const outcome = lock && (await decisions.decided(lock))
    if (lock && !outcome) {
      // It may have been decided, done and forgotten meanwhile; where it is still set aside, it was not.
      const again = cellOf((await ring.read(...readCell(place)))[0])
      if (again.lock !== cell.lock) return this.#settled(place, again)
    }
    const now = lock ? decidedCell(cell, outcome, lock) : cell
    const left = lock && now !== cell ? lock.next?.redo : cell.redo
    if (left === undefined) return now
    await writer.writeRanked(redo.changesOf(left))
    if (now === cell) await ring.write([markApplied(place, cell)])
    return now
  }
}

/** @throws Fault `too-large`: more than one write takes · `malformed`: a key that cannot be kept apart */
export function mustBeGood(changes: readonly Change[]): void {
  if (changes.length > MAX_CHANGES) throw new Fault('too-large', { maxChanges: MAX_CHANGES })
  for (const change of changes) {
    mustFit(change)
    part(change.partition)
    part(change.key)
    for (const place of Object.values(change.row ? (change.table.indexes ?? {}) : {})) {
      const entry = place(change.row as never, change)
      if (entry) part(entry.partition + entry.sort)
    }
  }
}

function foundOf<Row>({ partition, key }: Place, { json, version }: Cell, cursor: string): Found<Row> | undefined {
  return json === undefined ? undefined : { partition, key, row: JSON.parse(json) as Row, version, cursor }
}
