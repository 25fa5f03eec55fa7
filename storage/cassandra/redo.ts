/** Ranked changes that belong to a write of another partition: kept with it as text, until they are made. */
import { type Change, putRanked, removeRanked, type Table } from '../../core/ports.ts'

/** Table, where its rows stand, partition, key, rank, row. */
type Kept = [name: string, spread: 0 | 1, partition: string, key: string, rank: number, row?: object]

export class Redo {
  /** Tables by name: what is redone after a crash must know where else its rows are found. */
  readonly #tables = new Map<string, Table<never>>()

  constructor(tables: readonly Table<never>[]) {
    for (const table of tables) this.#tables.set(table.name, table)
  }

  textOf(changes: readonly Change[]): string | undefined {
    if (changes.length === 0) return undefined
    const kept = changes.map(({ table, partition, key, rank = 0, row }): Kept => {
      this.#tables.set(table.name, table)
      const spread = table.spread ? 1 : 0
      return row ? [table.name, spread, partition, key, rank, row] : [table.name, spread, partition, key, rank]
    })
    return JSON.stringify(kept)
  }

  changesOf(text: string): Change[] {
    return (JSON.parse(text) as Kept[]).map(([name, spread, partition, key, rank, row]) => {
      const known = this.#tables.get(name)
      const table: Table<never> = known ?? { name, ranked: true, ...(spread && { spread: true as const }) }
      return row
        ? putRanked(table as Table<object>, partition, key, row, rank)
        : removeRanked(table, partition, key, rank)
    })
  }
}
