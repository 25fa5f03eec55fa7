/** Where else records are found: written before the row that says so and removed after it, and believed only if the row says so. */
import type { ScanRange, Table } from '../../core/ports.ts'
import { bytewise, part, spanOf } from '../shape.ts'
import type { Place } from './cells.ts'
import type { Ring, Row, Statement, Value } from './ring.ts'

/** An entry of an index, as it points at a row. */
export interface Entry {
  table: Table<never>
  index: string
  partition: string
  sort: string
  row: { partition: string; key: string }
}
const nameOf = ({ index, partition, sort }: Entry) => `${index}\0${partition}\0${sort}`

/** Where a row stands. `json` is absent where there is no row. */
export function entriesOf({ table, partition, key }: Place, json: string | undefined): Entry[] {
  if (!table.indexes || json === undefined) return []
  const row = JSON.parse(json) as never
  return Object.entries(table.indexes).flatMap(([index, place]) => {
    const found = place(row, { partition, key })
    if (!found) return []
    return [{ table, index, partition: part(found.partition), sort: part(found.sort), row: { partition, key } }]
  })
}

/** What an index gains and loses by a change of a row. */
export function moved(before: readonly Entry[], after: readonly Entry[]): { gained: Entry[]; lost: Entry[] } {
  const [old, now] = [new Set(before.map(nameOf)), new Set(after.map(nameOf))]
  return {
    gained: after.filter(entry => !old.has(nameOf(entry))),
    lost: before.filter(entry => !now.has(nameOf(entry))),
  }
}

const COLUMNS = 'tbl, name, partition, sort, row_partition, row_key'
const valuesOf = ({ table, index, partition, sort, row }: Entry): Value[] => [
  ...[table.name, index, partition, sort],
  ...[row.partition, row.key],
]
export const putEntry = (entry: Entry, stamp: number): Statement => [
  `INSERT INTO record_index (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`,
  [...valuesOf(entry), stamp],
]
export const dropEntry = (entry: Entry, stamp: number): Statement => [
  `DELETE FROM record_index USING TIMESTAMP ?
   WHERE tbl = ? AND name = ? AND partition = ? AND sort = ? AND row_partition = ? AND row_key = ?`,
  [stamp, ...valuesOf(entry)],
]

// ---- scans ----

export const cursorOf = (...parts: string[]) => Buffer.from(parts.join('\0')).toString('base64url')
function fromCursor(cursor: string, parts: number): string[] {
  const given = Buffer.from(cursor, 'base64url').toString().split('\0')
  return Array.from({ length: parts }, (_, nth) => given[nth] ?? '')
}

/** Conditions and order of a scan by `columns`, of which the first is what the range speaks of. */
function bounds(
  columns: readonly string[],
  { after, reverse, ...range }: ScanRange,
): { where: string; values: Value[]; order: string } {
  const tuple = `(${columns.join(', ')})`
  const marks = `(${columns.map(() => '?').join(', ')})`
  const [column] = columns
  const { first, end } = spanOf(range)
  const cursor = after === undefined ? undefined : fromCursor(after, columns.length)
  const within = cursor && (end === undefined || bytewise(cursor[0] as string, end) < 0)
  const begun = cursor && bytewise(cursor[0] as string, first) >= 0
  const low: [string, Value[]] =
    cursor && begun && !reverse ? [`${tuple} > ${marks}`, cursor] : [`(${column}) >= (?)`, [first]]
  const high: [string, Value[]] | undefined =
    cursor && within && reverse
      ? [`${tuple} < ${marks}`, cursor]
      : end === undefined
        ? undefined
        : [`(${column}) < (?)`, [end]]
  const all = high ? [low, high] : [low]
  return {
    where: all.map(([where]) => where).join(' AND '),
    values: all.flatMap(([, values]) => values),
    order: reverse ? 'DESC' : 'ASC',
  }
}

/** A page of a partition's rows, by key, as columns. */
export function scanRows(
  ring: Ring,
  columns: string,
  place: { home: string; table: string; partition: string },
  range: ScanRange,
): Promise<Row[]> {
  const { where, values, order } = bounds(['key'], range)
  return ring.read(
    `SELECT key, ${columns} FROM records WHERE home = ? AND tbl = ? AND partition = ? AND ${where}
     ORDER BY tbl ${order}, partition ${order}, key ${order} LIMIT ?`,
    [place.home, place.table, place.partition, ...values, range.limit],
  )
}

/** A page of an index's entries. */
export async function scanIndex(
  ring: Ring,
  table: Table<never>,
  index: string,
  partition: string,
  range: ScanRange,
): Promise<(Entry & { cursor: string })[]> {
  const { where, values, order } = bounds(['sort', 'row_partition', 'row_key'], range)
  const rows = await ring.read(
    `SELECT sort, row_partition, row_key FROM record_index WHERE tbl = ? AND name = ? AND partition = ? AND ${where}
     ORDER BY sort ${order}, row_partition ${order}, row_key ${order} LIMIT ?`,
    [table.name, index, partition, ...values, range.limit],
  )
  return rows.map(found => {
    const [sort, rowPartition, key] = [found.sort, found.row_partition, found.row_key] as [string, string, string]
    const entry: Entry = { table, index, partition, sort, row: { partition: rowPartition, key } }
    return { ...entry, cursor: cursorOf(sort, rowPartition, key) }
  })
}

/** Whether a row says of itself what the entry says. */
export function isTrue(entry: Entry, place: Place, row: unknown): boolean {
  const now = entriesOf(place, JSON.stringify(row))
  return now.some(one => nameOf(one) === nameOf(entry))
}
