/** `im backup` of a cluster: everything that is stored, as items that no engine owns; and `im restore` of it into either engine. */
import { CannotOpen } from '../../storage/open.ts'
import { backUpItems, checkBackup, type ItemsBackup, itemBackupsIn, linesOfBackup } from '../archive/backups.ts'
import { differences, spoken } from '../archive/tally.ts'
import type { Given } from '../commands.ts'
import { filled } from './filling.ts'
import { type Progress, percent } from './progress.ts'
import type { Kept } from './settings.ts'

export async function backingUpItems(
  from: Kept,
  place: string,
  flags: Given['flags'],
  progress: Progress,
): Promise<number> {
  const told = (lines: number) => progress.tell(() => `${lines} lines are read`)
  const { made, from: left } = await from.archived(archive =>
    backUpItems(archive, place, { full: flags.has('full'), at: Date.now(), told }),
  )
  const { name, full, bytes, newBytes, totals } = made
  const kind = full ? 'full' : 'the rest is in earlier ones'
  const says = `Backup ${name} of ${from.name} is in ${place}: ${spoken(totals)}, ${size(bytes)}, ${size(newBytes)} of it new (${kind}).`
  process.stdout.write(flags.has('json') ? `${JSON.stringify({ ...summary(made), from: left })}\n` : `${says}\n`)
  return 0
}

interface How extends Pick<Given, 'flags'> {
  /** Which, if not the newest. */
  named: string | undefined
  progress: Progress
}

/** All of the backup is read before anything is stored. @throws CannotOpen · CannotDo */
export async function restoringItems(to: Kept, place: string, { named, flags, progress }: How): Promise<number> {
  const all = await itemBackupsIn(place)
  const chosen = named === undefined ? all.at(-1) : all.find(({ name }) => name === named)
  if (!chosen) throw new CannotOpen(`There is no backup ${named} in ${place}.`)
  await checkBackup(place, chosen, share => progress.tell(() => `${percent(share)} of the backup are checked`))
  const { totals, sha256, name, madeAt } = chosen
  const source = { sha256, totals, from: (start: number) => linesOfBackup(place, chosen, start) }
  const { found, from } = await filled(to, source, progress)
  const differ = differences(found, totals)
  const ok = differ.length === 0
  const time = new Date(madeAt).toISOString()
  const says = ok
    ? `${to.name} holds what backup ${name} of ${place}, begun at ${time}, does: ${spoken(found)}.`
    : differ.join('\n')
  const report = { ok, from, differences: differ, ...summary(chosen), found }
  process.stdout.write(flags.has('json') ? `${JSON.stringify(report)}\n` : `${says}\n`)
  return ok ? 0 : 1
}

const size = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

function summary({ name, full, madeAt, chunks, bytes, newChunks, newBytes, totals }: ItemsBackup) {
  return { backup: name, full, madeAt, chunks, bytes, newChunks, newBytes, totals }
}
