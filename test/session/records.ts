/** Records in memory, whose answers wait for their turn. */
import type { Change, Found, Records, ScanRange, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Turns } from './turns.ts'

export class MemoryRecords implements Records {
  readonly rows = new Map<string, { row: unknown; version: number }>()
  readonly #turns: Turns
  constructor(turns: Turns) {
    this.#turns = turns
  }
  get<Row>(from: Table<Row>, partition: string, key: string) {
    return this.#turns.later(() => this.#found<Row>(from, partition, key))
  }
  getMany<Row>(): Promise<(Found<Row> | undefined)[]> {
    throw new Error('not asked for')
  }
  scan<Row>(from: Table<Row>, partition: string, { after }: ScanRange) {
    return this.#turns.later(() => {
      const prefix = `${from.name}\0${partition}\0`
      const keys = [...this.rows.keys()]
        .filter(key => key.startsWith(prefix))
        .map(key => key.slice(prefix.length))
        .sort()
      return keys
        .filter(key => after === undefined || key > after)
        .flatMap(key => this.#found<Row>(from, partition, key) ?? [])
    })
  }
  write(changes: readonly Change[]) {
    return this.#turns.later(() => {
      for (const change of changes) {
        const version = this.rows.get(nameOf(change))?.version ?? 0
        if (change.expects !== undefined && change.expects !== version) throw new Fault('conflict')
      }
      for (const change of changes) {
        if (change.check) continue
        const version = this.rows.get(nameOf(change))?.version ?? 0
        const { row, rank = version + 1 } = change
        if (rank < version) continue
        // What was removed keeps its rank.
        if (row || change.rank !== undefined)
          this.rows.set(nameOf(change), { row: structuredClone(row), version: rank })
        else this.rows.delete(nameOf(change))
      }
    })
  }
  #found<Row>(from: Table<Row>, partition: string, key: string): Found<Row> | undefined {
    const found = this.rows.get(`${from.name}\0${partition}\0${key}`)
    return found?.row ? { partition, key, cursor: key, row: found.row as Row, version: found.version } : undefined
  }
}
const nameOf = ({ table, partition, key }: Change) => `${table.name}\0${partition}\0${key}`
