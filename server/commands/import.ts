/**
 * `im import`: everything in the file of an export into an empty storage. The file is looked through first; each batch is
 * stored with the place in the file that it ends at, so that a run that was killed goes on from there; in the end all that
 * is stored is read again and compared with the totals of the export.
 */
import { resolve } from 'node:path'
import { type Archive, CannotOpen, type Item, type Restoration } from '../../storage/open.ts'
import { checkExport, linesFrom } from '../archive/file.ts'
import { itemOf } from '../archive/lines.ts'
import { differences, spoken, Tally, type Totals } from '../archive/tally.ts'
import type { Given } from '../commands.ts'
import { Progress, percent } from './progress.ts'
import { type Kept, kept } from './settings.ts'
import { CannotDo } from './trouble.ts'

/** Which export, and how many of its bytes are stored. */
interface Note {
  sha256: string
  bytes: number
}

export async function importing({ words: [name = ''], flags }: Given): Promise<number> {
  const place = kept()
  const file = resolve(name)
  using progress = new Progress()
  const wanted = await checkExport(file, share => progress.tell(() => `${percent(share)} of the file are checked`))
  const { found, from } = flags.has('verify')
    ? { found: await place.archived(archive => counted(archive, wanted, progress)), from: undefined }
    : await filled(place, file, wanted, progress)
  const differ = differences(found, wanted)
  const report = { ok: differ.length === 0, from, differences: differ, found, wanted }
  const says = report.ok ? `${place.name} holds what ${file} does: ${spoken(found)}.` : differ.join('\n')
  process.stdout.write(flags.has('json') ? `${JSON.stringify(report)}\n` : `${says}\n`)
  return report.ok ? 0 : 1
}

/** `from`: the byte of the file that this run began at. */
async function filled(place: Kept, file: string, wanted: Totals, progress: Progress) {
  await using restoration = await place.restoration()
  const from = await begun(restoration, wanted, place)
  const all = countOf(wanted)
  let read = 0
  for await (const { lines, end } of linesFrom(file, from)) {
    await restoration.put(lines.flatMap(itemIn), JSON.stringify({ sha256: wanted.sha256, bytes: end } satisfies Note))
    read += lines.length
    progress.tell(() => `${read} of ${all} lines are stored${from > 0 ? ', beside those of an earlier run' : ''}`)
  }
  const found = await counted(restoration, wanted, progress)
  if (differences(found, wanted).length === 0) await restoration.finish()
  return { found, from }
}

/** Where to go on. @throws CannotOpen: what is there is of another export */
async function begun(restoration: Restoration, { sha256 }: Totals, { giveUp }: Kept): Promise<number> {
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

async function counted(archive: Archive, wanted: Totals, progress: Progress): Promise<Totals> {
  const all = countOf(wanted)
  const tally = new Tally()
  tally.begin()
  for await (const items of archive.items()) {
    tally.add(items)
    progress.tell(() => `${tally.lines} of ${all} lines are compared`)
  }
  return tally.finish().totals
}

const countOf = ({ conversations, entries, remains, repeats, records }: Totals) =>
  2 * conversations.count + entries.count + remains.count + repeats.count + records.count
