/** What every engine demands of keys and changes, so that none is written that another engine could not take. */
import { type Change, MAX_RANK, type ScanRange } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'

/** A change that does not fit its table is a mistake of ours. */
export function mustFit({ table, expects, check, rank }: Change): void {
  if (table.ranked ? rank === undefined || expects !== undefined || check : rank !== undefined)
    throw new TypeError(`A change of ${table.name} ${table.ranked ? 'needs' : 'has no'} rank.`)
  if (rank !== undefined && !(Number.isInteger(rank) && rank > 0 && rank <= MAX_RANK))
    throw new RangeError(`${rank} is no rank.`)
}

/** The first text, by UTF-8 bytes, behind all that begin with `prefix`; `prefix` itself where there is none. */
export function behind(prefix: string): string {
  const points = Array.from(prefix)
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    const point = last.codePointAt(0) ?? 0
    if (point < 0x10_ffff) return points.join('') + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1)
  }
  return prefix
}

export const bytewise = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** Where a range begins, and the first text behind it, if anything is. */
export function spanOf({ prefix = '', from = '', below }: Pick<ScanRange, 'prefix' | 'from' | 'below'>) {
  const first = bytewise(from, prefix) > 0 ? from : prefix
  const end = behind(prefix)
  if (end === prefix) return { first, end: below }
  return { first, end: below !== undefined && bytewise(below, end) < 0 ? below : end }
}

/** A part of a key: well-formed, without the separator. */
export function part(text: string): string {
  if (text.includes('\0') || !text.isWellFormed())
    throw new Fault('malformed', { issues: [{ path: [], message: 'A key is well-formed text without U+0000.' }] })
  return text
}
