/** Versioned rows as they lie in a home: what is read of them, and the statements that compare and set. */
import { randomBytes } from 'node:crypto'
import type { Change, RowKey, Table } from '../../core/ports.ts'
import type { Row, Statement, Value } from './ring.ts'

/** Rows that change together share a partition, their home. Never empty, as Cassandra asks. */
export const homeOf = ({ spread }: Pick<Table<never>, 'spread'>, { partition, key }: RowKey): string =>
  spread ? `/${partition}/${key}` : `/${partition}`

export interface Place extends RowKey {
  home: string
  table: Table<never>
}
export const placeOf = ({ table, partition, key }: Pick<Change, 'table' | 'partition' | 'key'>): Place => ({
  home: homeOf(table, { partition, key }),
  table,
  partition,
  key,
})
export const nameOf = ({ table, partition, key }: Place) => `${table.name}\0${partition}\0${key}`

/** A row as it is read. One that is not there has neither `json` nor `version`, but may have a token for a day. */
export interface Cell {
  json?: string
  version: number
  token: string | null
  /** Microseconds; grows with every write, so that what is written about the row elsewhere can be told apart. */
  stamp: number
  /** A write to several homes has set it aside. */
  lock?: string
  /** Ranked changes that belong to the write of `stamp`, as far as they are not applied. */
  redo?: string
}
export const CELL = 'row, version, mark, stamp, lock, redo, applied'
const AT = 'WHERE home = ? AND tbl = ? AND partition = ? AND key = ?'

export const at = ({ home, table, partition, key }: Place): Value[] => [home, table.name, partition, key]
export const readCell = (place: Place): Statement => [`SELECT ${CELL} FROM records ${AT}`, at(place)]

export function cellOf(row: Row | undefined): Cell {
  if (!row) return { version: 0, token: null, stamp: 0 }
  const { row: json, version, mark, stamp, lock, redo, applied } = row
  const isOpen = typeof redo === 'string' && Number(applied ?? 0) < Number(stamp)
  return {
    ...(typeof json === 'string' && { json }),
    version: typeof json === 'string' ? Number(version) : 0,
    token: (mark as string | null) ?? null,
    stamp: Number(stamp ?? 0),
    ...(typeof lock === 'string' && { lock }),
    ...(isOpen && { redo: redo as string }),
  }
}

/** What a versioned row becomes; without `json` it is removed. */
export interface Next {
  json?: string
  version: number
  stamp: number
  redo?: string
}
export const newToken = () => randomBytes(12).toString('base64url')
export const nextStamp = ({ stamp }: Cell, now: number) => Math.max(now * 1000, stamp + 2)

/** A removed row is known for so long, so that a clock behind cannot write before its removal. */
const REMOVED_SECONDS = 86_400
const SET = 'SET row = ?, version = ?, mark = ?, stamp = ?, redo = ?, lock = null'

const values = ({ json, version, stamp, redo }: Next, token: string): Value[] => [
  ...[json ?? null, json === undefined ? null : version, token],
  ...[stamp, redo ?? null],
]
const updating = (next: Next) =>
  next.json === undefined ? `UPDATE records USING TTL ${REMOVED_SECONDS} ${SET}` : `UPDATE records ${SET}`

/** Sets a row that nobody has changed since it was read, and nobody has set aside. */
export const setCell = (place: Place, before: Cell, next: Next, token: string): Statement => [
  `${updating(next)} ${AT} IF mark = ? AND lock = null`,
  [...values(next, token), ...at(place), before.token],
]
/** Changes nothing but the mark: what was set upon the row as it was, and is still on its way, is refused when it comes. */
export const fenceCell = (place: Place, before: Cell, token: string): Statement => [
  `UPDATE records ${before.json === undefined ? `USING TTL ${REMOVED_SECONDS} ` : ''}SET mark = ? ${AT} IF mark = ? AND lock = null`,
  [token, ...at(place), before.token],
]
/** Changes nothing, and holds only if nobody has changed the row since it was read. */
export const holdCell = (place: Place, before: Cell): Statement => [
  `UPDATE records SET lock = null ${AT} IF mark = ? AND lock = null`,
  [...at(place), before.token],
]
export const lockCell = (place: Place, before: Cell, lock: string): Statement => [
  `UPDATE records SET lock = ? ${AT} IF mark = ? AND lock = null`,
  [lock, ...at(place), before.token],
]
export const setLocked = (place: Place, lock: string, next: Next, token: string): Statement => [
  `${updating(next)} ${AT} IF lock = ?`,
  [...values(next, token), ...at(place), lock],
]
export const unlockCell = (place: Place, lock: string): Statement => [
  `UPDATE records SET lock = null ${AT} IF lock = ?`,
  [...at(place), lock],
]

// ---- ranked rows ----

export function rankedStatement({ table, partition, key, row, rank = 0 }: Change): Statement {
  const place = placeOf({ table, partition, key })
  if (!row) return [`DELETE FROM records USING TIMESTAMP ? ${AT}`, [rank, ...at(place)]]
  const json = JSON.stringify(row)
  return [`UPDATE records USING TIMESTAMP ? SET row = ?, version = ? ${AT}`, [rank, json, rank, ...at(place)]]
}
/** What a redo asked for is done; of a row that was removed it is known for as long. */
export const markApplied = (place: Place, { json, stamp }: Pick<Cell, 'json' | 'stamp'>): Statement => [
  `UPDATE records USING TIMESTAMP ?${json === undefined ? ` AND TTL ${REMOVED_SECONDS}` : ''} SET applied = ? ${AT}`,
  [stamp, stamp, ...at(place)],
]
