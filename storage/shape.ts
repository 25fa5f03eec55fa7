/** What every engine demands of a change, so that none is written that another engine could not take. */
import { type Change, MAX_RANK } from '../core/ports.ts'

/** A change that does not fit its table is a mistake of ours. */
export function mustFit({ table, expects, check, rank }: Change): void {
  if (table.ranked ? rank === undefined || expects !== undefined || check : rank !== undefined)
    throw new TypeError(`A change of ${table.name} ${table.ranked ? 'needs' : 'has no'} rank.`)
  if (rank !== undefined && !(Number.isInteger(rank) && rank > 0 && rank <= MAX_RANK))
    throw new RangeError(`${rank} is no rank.`)
}
