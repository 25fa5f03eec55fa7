/** Records: state that is not history. */

/** A kind of record. Rows are plain JSON objects. Keys and partitions are text without U+0000. */
export interface Table<Row> {
  readonly name: string
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
export const table = <Row extends object>(name: string, indexes?: Table<Row>['indexes']): Table<Row> =>
  indexes ? { name, indexes } : { name }

/** Counts the writes of a row, from 1. */
export type Version = number
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

export interface ScanRange {
  /** Scan this index; `partition` is then the index's. */
  index?: string
  /** Only keys (on an index: sort values) that begin so. */
  prefix?: string
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
   * and never before an earlier durable write is.
   * @throws Fault `conflict`: an `expects` does not hold; nothing was written. · `storage-full` · `log-unavailable`
   */
  write(changes: readonly Change[], options?: { durable?: boolean }): Promise<void>
}
