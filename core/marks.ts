/** How far members have come in conversations: each mark only goes up, whoever writes it. */
import type { Records, RowKey } from './ports.ts'
import { DELIVERED, type DeliveredRow, MARKS, type MarkRow } from './tables.ts'

export interface Marks {
  readUpTo: number
  /** Messages up to `readUpTo`. */
  readN: number
  deliveredUpTo: number
}

/** Of each, in the order asked; `partition`: conversation key, `key`: member. */
export async function marksOf(records: Pick<Records, 'getMany'>, of: readonly RowKey[]): Promise<Marks[]> {
  const [marks, delivered] = await Promise.all([records.getMany(MARKS, of), records.getMany(DELIVERED, of)])
  return of.map((_, i) => together(marks[i]?.row, delivered[i]?.row))
}

/** What was got is in two rows: the higher one holds. */
export function together(marks: MarkRow | undefined, delivered: DeliveredRow | undefined): Marks {
  const { readUpTo = 0, readN = 0, deliveredUpTo = 0 } = marks ?? {}
  return { readUpTo, readN, deliveredUpTo: Math.max(deliveredUpTo, delivered?.upTo ?? 0) }
}
