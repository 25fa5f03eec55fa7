/** Record changes as rows: versions, expectations, and the index rows that follow a record. */
import type { Change, Found, IndexKey, RowKey, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { mustFit, part } from '../shape.ts'
import type { Rows } from './overlay.ts'
import { blank, damaged, HEAD, joinKey, seal, whole } from './rows.ts'

const MAX_CHANGES = 20_000
const JSON_AT = HEAD + 6

export const recordKey = (table: { name: string }, { partition, key }: RowKey) =>
  joinKey('r', table.name, part(partition), part(key))
export const recordsOf = (table: { name: string }, partition: string) => joinKey('r', table.name, part(partition), '')
export const indexOf = (table: { name: string }, index: string, partition: string) =>
  joinKey('i', table.name, index, part(partition), '')

export interface ReadRecord {
  version: number
  row: object
}
export function readRecord(key: string, value: Buffer): ReadRecord {
  whole(key, value)
  try {
    return { version: value.readUIntBE(HEAD, 6), row: JSON.parse(value.toString('utf8', JSON_AT)) as object }
  } catch (cause) {
    throw damaged(key, `it cannot be read (${cause})`)
  }
}
/** Pages are asked for by this; opaque, and safe in an address. */
export const cursorOf = (text: string) => Buffer.from(text).toString('base64url')
export const fromCursor = (cursor: string) => Buffer.from(cursor, 'base64url').toString()

export function found<Row>(at: RowKey, { version, row }: ReadRecord, cursor: string): Found<Row> {
  return { partition: at.partition, key: at.key, row: row as Row, version, cursor }
}

/** @throws Fault `too-large`: more than one atomic write takes. */
export function keysOf(changes: readonly Change[]): string[] {
  if (changes.length > MAX_CHANGES) throw new Fault('too-large', { maxChanges: MAX_CHANGES })
  for (const change of changes) mustFit(change)
  return changes.map(change => recordKey(change.table, change))
}

/** Checks and makes the changes in order, each upon the ones before. @throws Fault `conflict`, `log-unavailable` */
export function applyChanges(rows: Rows, changes: readonly Change[], keys: readonly string[]): void {
  changes.forEach((change, at) => {
    const key = keys[at] as string
    const stored = rows.get(key)
    const old = stored && headOf(key, stored)
    if (change.expects !== undefined && change.expects !== (old?.version ?? 0))
      throw new Fault('conflict', { table: change.table.name, key: change.key })
    if (change.check || (change.rank !== undefined && change.rank < (old?.version ?? 0))) return
    if (change.table.indexes) reindex(rows, change, key, stored)
    const version = change.rank ?? (old?.version ?? 0) + 1
    if (change.row) rows.put(key, recordValue(key, version, JSON.stringify(change.row)))
    else if (stored) rows.delete(key)
  })
}

function headOf(key: string, value: Buffer): { version: number } {
  whole(key, value)
  return { version: value.readUIntBE(HEAD, 6) }
}

export function recordValue(key: string, version: number, json: string): Buffer {
  const value = blank(6 + Buffer.byteLength(json))
  value.writeUIntBE(version, HEAD, 6)
  value.write(json, JSON_AT)
  return seal(key, value)
}

function reindex(rows: Rows, change: Change, key: string, stored: Buffer | undefined): void {
  const before = stored ? indexKeys(change.table, change, readRecord(key, stored).row) : []
  // Through JSON, so that an index sees the row as it will be read.
  const after = change.row ? indexKeys(change.table, change, JSON.parse(JSON.stringify(change.row)) as object) : []
  for (const gone of before) if (!after.includes(gone)) rows.delete(gone)
  for (const index of after) if (!before.includes(index)) rows.put(index, seal(index, blank(0)))
}

/** Where else a record stands. */
export function indexKeys(table: Table<never>, at: RowKey, row: object): string[] {
  const keys: string[] = []
  for (const [name, place] of Object.entries(table.indexes ?? {})) {
    const index: IndexKey | undefined = place(row as never, { partition: at.partition, key: at.key })
    if (index) keys.push(indexOf(table, name, index.partition) + joinKey(part(index.sort), at.partition, at.key))
  }
  return keys
}
