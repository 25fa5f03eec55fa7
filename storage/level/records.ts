/** Records over the embedded database. */
import type { Change, Found, Records, RowKey, ScanRange, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { behind, bytewise, part, spanOf } from '../shape.ts'
import {
  applyChanges,
  cursorOf,
  found,
  fromCursor,
  indexOf,
  keysOf,
  readRecord,
  recordKey,
  recordsOf,
} from './changes.ts'
import type { Committer, Transaction } from './committer.ts'
import type { DiskGuard } from './disk.ts'
import type { Engine, Range } from './engine.ts'
import { damaged, whole } from './rows.ts'

interface Needs {
  engine: Engine
  committer: Committer
  disk: DiskGuard
}

const ROW_BYTES = 256

export class LevelRecords implements Records {
  readonly #needs: Needs

  constructor(needs: Needs) {
    this.#needs = needs
  }

  async get<Row>(from: Table<Row>, partition: string, key: string): Promise<Found<Row> | undefined> {
    const at = recordKey(from, { partition, key })
    const value = await this.#needs.engine.get(at)
    return value && found({ partition, key }, readRecord(at, value), cursorOf(key))
  }

  async getMany<Row>(from: Table<Row>, keys: readonly RowKey[]): Promise<(Found<Row> | undefined)[]> {
    if (keys.length === 0) return []
    const wanted = keys.map(key => recordKey(from, key))
    const values = await this.#needs.engine.getMany(wanted)
    return keys.map((key, at) => {
      const value = values[at]
      return value && found(key, readRecord(wanted[at] as string, value), cursorOf(key.key))
    })
  }

  scan<Row>(from: Table<Row>, partition: string, range: ScanRange): Promise<Found<Row>[]> {
    const { index, limit } = range
    if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
      return Promise.reject(new Fault('malformed', { issues: [{ path: ['limit'], message: 'From 1 to 1,000.' }] }))
    if (index === undefined) return this.#scanTable(from, partition, range)
    return this.#scanIndex(from, index, partition, range)
  }

  write(changes: readonly Change[], options: { durable?: boolean } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#needs.disk.permit(changes.length * ROW_BYTES)
      if (changes.length === 0) resolve()
      else this.#needs.committer.add(new Write(changes, options.durable ?? true, resolve, reject))
    })
  }

  async #scanTable<Row>(from: Table<Row>, partition: string, range: ScanRange): Promise<Found<Row>[]> {
    const before = recordsOf(from, partition)
    const rows = await this.#needs.engine.rows(bounds(before, range))
    return rows.map(([at, value]) => {
      const key = at.slice(before.length)
      return found({ partition, key }, readRecord(at, value), cursorOf(key))
    })
  }

  #scanIndex<Row>(from: Table<Row>, index: string, partition: string, range: ScanRange): Promise<Found<Row>[]> {
    if (!from.indexes || !Object.hasOwn(from.indexes, index))
      return Promise.reject(new Error(`Table ${from.name} has no index ${index}.`))
    const before = indexOf(from, index, partition)
    return this.#needs.engine.indexed(bounds(before, range), async (places, get) => {
      const rows = places.map(([place, value]) => {
        whole(place, value)
        const [, ofPartition, ofKey] = place.slice(before.length).split('\0') as [string, string, string]
        return { at: { partition: ofPartition, key: ofKey }, place }
      })
      const keys = rows.map(row => recordKey(from, row.at))
      const values = await get(keys)
      return rows.map(({ at, place }, nth) => {
        const value = values[nth]
        if (!value) throw damaged(keys[nth] as string, 'it is missing, though an index names it')
        return found<Row>(at, readRecord(keys[nth] as string, value), cursorOf(place.slice(before.length)))
      })
    })
  }
}

/** Of the keys that begin with `before`, those that the range names. */
function bounds(before: string, { after, limit, reverse = false, ...range }: ScanRange): Range {
  const { first, end } = spanOf(range)
  const [gte, lt] = [before + part(first), end === undefined ? behind(before) : before + end]
  const known = { limit, reverse, gte, lt }
  if (after === undefined) return known
  const cursor = before + fromCursor(after)
  if (reverse) return bytewise(cursor, lt) < 0 ? { ...known, lt: cursor } : known
  return bytewise(cursor, gte) < 0 ? known : { limit, reverse, gt: cursor, lt }
}

class Write implements Transaction {
  readonly bytes: number
  readonly durable: boolean
  readonly committed: () => void
  readonly refused: (fault: Fault) => void
  readonly #changes: readonly Change[]
  readonly #keys: string[]

  constructor(changes: readonly Change[], durable: boolean, committed: () => void, refused: (fault: Fault) => void) {
    this.#changes = changes
    this.#keys = keysOf(changes)
    this.bytes = changes.length * ROW_BYTES
    this.durable = durable
    this.committed = committed
    this.refused = refused
  }

  keys(): readonly string[] {
    return this.#keys
  }
  decide(rows: Parameters<Transaction['decide']>[0]): void {
    applyChanges(rows, this.#changes, this.#keys)
  }
}
