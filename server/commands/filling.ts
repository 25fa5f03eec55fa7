/**
 * Lines into an empty storage. Each batch is stored with the place that it ends at, so that a run that was killed goes on
 * from there; in the end all that is stored is read again and compared with the totals of what was to be stored.
 */
import { type Archive, CannotOpen, type Item, type Restoration } from '../../storage/open.ts'
import { itemOf } from '../archive/lines.ts'
import { differences, Tally, type Totals } from '../archive/tally.ts'
import type { Progress } from './progress.ts'
import type { Kept } from './settings.ts'
import { CannotDo } from './trouble.ts'

/** What is to be stored. */
export interface Source {
  /** Which it is. */
  sha256: string
  totals: Totals
  /** Lines from a byte on, and the byte that they end at. */
  from(start: number): AsyncIterable<{ lines: Buffer[]; end: number }>
}
/** Which source, and how many of its bytes are stored. */
interface Note {
  sha256: string
  bytes: number
}

/** `from`: the byte that this run began at. A server may open what is found to be the same. */
export async function filled(
  place: Kept,
  source: Source,
  progress: Progress,
): Promise<{ found: Totals; from: number }> {
  const { sha256, totals } = source
  await using restoration = await place.restoration()
  const from = await begun(restoration, sha256, place)
  const all = countOf(totals)
  let read = 0
  for await (const { lines, end } of source.from(from)) {
    await restoration.put(lines.flatMap(itemIn), JSON.stringify({ sha256, bytes: end } satisfies Note))
    read += lines.length
    progress.tell(() => `${read} of ${all} lines are stored${from > 0 ? ', beside those of an earlier run' : ''}`)
  }
  const found = await counted(restoration, totals, progress)
  if (differences(found, totals).length === 0) await restoration.finish()
  return { found, from }
}

export async function counted(archive: Archive, wanted: Totals, progress: Progress): Promise<Totals> {
  const all = countOf(wanted)
  const tally = new Tally()
  tally.begin()
  for await (const items of archive.items()) {
    tally.add(items)
    progress.tell(() => `${tally.lines} of ${all} lines are compared`)
  }
  return tally.finish().totals
}

/** Where to go on. @throws CannotOpen: what is there is of another source */
async function begun(restoration: Restoration, sha256: string, { giveUp }: Kept): Promise<number> {
  const noted = await restoration.noted()
  if (noted === undefined) return 0
  const note = JSON.parse(noted) as Note
  if (note.sha256 === sha256) return note.bytes
  throw new CannotOpen(`An import of another file (SHA-256 ${note.sha256}) is not finished: finish it, or ${giveUp}.`)
}

function itemIn(line: Buffer): Item | [] {
  try {
    return itemOf(line.toString()) ?? []
  } catch (cause) {
    throw new CannotDo(`A line cannot be read: ${line.toString('utf8', 0, 60)}…`, { cause })
  }
}

const countOf = ({ conversations, entries, remains, repeats, records }: Totals) =>
  2 * conversations.count + entries.count + remains.count + repeats.count + records.count
