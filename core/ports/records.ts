/** Records: state that is not history. */
import type { EpochMs } from '../../protocol/ids.ts'

/** A kind of record. Rows are plain JSON objects. Keys and partitions are text without U+0000. */
export interface Table<Row> {
  readonly name: string
  /**
   * Its changes carry a rank instead of expecting a version: of several, the highest rank stays, in whatever order they
   * arrive, and none is ever refused. Cheap, for values that only go forward. The version of such a row is its rank.
   */
  readonly ranked?: true
  /**
   * Rows of one partition are apart: each is written independently of the others, together with the partition of other
   * tables that is named `{partition}/{key}`. It cannot be scanned but by an index.
   */
  readonly spread?: true
  /** Where else a row is found: kept in step with it by the adapter, in the same atomic write. */
  readonly indexes?: Readonly<Record<string, (row: Row, at: RowKey) => IndexKey | undefined>>
}
export interface RowKey {
  partition: string
  key: string
}
/** A row stands in the index's partition at `sort`, then by its own key. */
export interface IndexKey {
  partition: string
  sort: string
}
/** A time as a sort value. */
export const sortable = (at: EpochMs) => String(Math.min(at, Number.MAX_SAFE_INTEGER)).padStart(16, '0')
export const table = <Row extends object>(
  name: string,
  indexes?: Table<Row>['indexes'],
  kind: Pick<Table<Row>, 'ranked' | 'spread'> = {},
): Table<Row> => ({ name, ...(indexes && { indexes }), ...kind })

/** Counts the writes of a row, from 1; of a ranked table it is the row's rank. */
export type Version = number
export const MAX_RANK = 2 ** 48 - 1
export interface Found<Row> extends RowKey {
  row: Row
  version: Version
  /** Hand to `scan` as `after` to go on behind this row. */
  cursor: string
}

export interface Change extends RowKey {
  table: Table<never>
  /** The new row; absent: the row is removed, or only checked (`check`). */
  row?: object
  /** The version that must be there now, or 0 for none. Without it the change is unconditional. */
  expects?: Version
  check?: true
  /** Of a ranked table: loses against a higher one that is there, wins against its own. 1 to `MAX_RANK`. */
  rank?: number
}
export const put = <Row extends object>(
  to: Table<Row>,
  partition: string,
  key: string,
  row: Row,
  expects?: Version,
): Change => ({ table: to as Table<never>, partition, key, row, ...(expects !== undefined && { expects }) })
export const remove = <Row>(from: Table<Row>, partition: string, key: string, expects?: Version): Change => ({
  table: from as Table<never>,
  partition,
  key,
  ...(expects !== undefined && { expects }),
})
/** Changes nothing; the write is refused unless the row has that version. */
export const check = <Row>(of: Table<Row>, partition: string, key: string, expects: Version): Change => ({
  table: of as Table<never>,
  partition,
  key,
  expects,
  check: true,
})

export const putRanked = <Row extends object>(
  to: Table<Row>,
  partition: string,
  key: string,
  row: Row,
  rank: number,
): Change => ({ table: to as Table<never>, partition, key, row, rank })
/** A row that comes with a lower rank may be there again: what is removed leaves nothing to compare with, or not for ever. */
export const removeRanked = <Row>(from: Table<Row>, partition: string, key: string, rank: number): Change => ({
  table: from as Table<never>,
  partition,
  key,
  rank,
})

export interface ScanRange {
  /** Scan this index; `partition` is then the index's. */
  index?: string
  /** Only keys (on an index: sort values) that begin so. */
  prefix?: string
  /** Only keys (on an index: sort values) from this one on, and only those before that one. */
  from?: string
  below?: string
  /** A row's `cursor`, exclusive. */
  after?: string
  /** Rows, 1 to 1,000. */
  limit: number
  reverse?: boolean
}

/** State that is not history. Contract: test/contracts/records.ts. */
export interface Records {
  get<Row>(from: Table<Row>, partition: string, key: string): Promise<Found<Row> | undefined>
  /** In one batched read, in the order asked. */
  getMany<Row>(from: Table<Row>, keys: readonly RowKey[]): Promise<(Found<Row> | undefined)[]>
  /** By key (on an index: by sort value, then key), compared by UTF-8 bytes. */
  scan<Row>(from: Table<Row>, partition: string, range: ScanRange): Promise<Found<Row>[]>
  /**
   * All changes or none, in one atomic write, at most 20,000. `durable: false` may be lost in a crash, as a whole,
   * and never before an earlier durable write is. A `check` that stands beside ranked changes alone may be judged by what
   * was there just before: their ranks decide.
   * @throws Fault `conflict`: an `expects` does not hold; nothing was written. · `storage-full` · `log-unavailable`
   */
  write(changes: readonly Change[], options?: { durable?: boolean }): Promise<void>
}
