/** Ranked rows: written as they come, each with its rank as timestamp, so that the highest stays. */
import type { Change } from '../../core/ports.ts'
import { type Cell, cellOf, nameOf, placeOf, rankedStatement, readCell } from './cells.ts'
import { dropEntry, type Entry, entriesOf, moved, putEntry } from './places.ts'
import type { Ring, Statement } from './ring.ts'

/** Statements of one plain batch. */
const STATEMENTS = 100

/** In whatever order. @throws Fault `log-unavailable` */
export async function writeRanked(ring: Ring, changes: readonly Change[]): Promise<void> {
  const indexed = changes.filter(({ table }) => table.indexes)
  const lost: { entry: Entry; rank: number }[] = []
  if (indexed.length > 0) {
    const cells = await rankedCells(ring, indexed)
    for (const change of indexed) {
      const place = placeOf(change)
      const { rank = 0, row } = change
      const before = entriesOf(place, cells.get(nameOf(place))?.json)
      const after = entriesOf(place, row && JSON.stringify(row))
      lost.push(...moved(before, after).lost.map(entry => ({ entry, rank })))
      // Also where it stands already: what a lower rank drops later must not be this one's.
      await ring.each(after, entry => ring.write([putEntry(entry, rank)]))
    }
  }
  const homes = new Map<string, Statement[]>()
  for (const change of changes) {
    const { home } = placeOf(change)
    const statements = homes.get(home)
    if (statements) statements.push(rankedStatement(change))
    else homes.set(home, [rankedStatement(change)])
  }
  await ring.each(
    [...homes.values()].flatMap(all => chunks(all, STATEMENTS)),
    all => ring.write(all),
  )
  await ring.each(lost, ({ entry, rank }) => ring.write([dropEntry(entry, rank - 1)]))
}

async function rankedCells(ring: Ring, changes: readonly Change[]): Promise<Map<string, Cell>> {
  const cells = await ring.each(changes.map(placeOf), async place => {
    const [row] = await ring.read(...readCell(place))
    return [nameOf(place), cellOf(row)] as const
  })
  return new Map(cells)
}

export function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, nth) => all.slice(nth * size, (nth + 1) * size))
}
