/**
 * `im import`: everything in the file of an export into an empty storage. The file is looked through first; in the end all
 * that is stored is compared with the totals of the export.
 */
import { resolve } from 'node:path'
import { checkExport, linesFrom } from '../archive/file.ts'
import { differences, spoken } from '../archive/tally.ts'
import type { Given } from '../commands.ts'
import { counted, filled } from './filling.ts'
import { Progress, percent } from './progress.ts'
import { kept } from './settings.ts'

export async function importing({ words: [name = ''], flags }: Given): Promise<number> {
  const place = kept()
  const file = resolve(name)
  using progress = new Progress()
  const wanted = await checkExport(file, share => progress.tell(() => `${percent(share)} of the file are checked`))
  const source = { sha256: wanted.sha256, totals: wanted, from: (start: number) => linesFrom(file, start) }
  const { found, from } = flags.has('verify')
    ? { found: await place.archived(archive => counted(archive, wanted, progress)), from: undefined }
    : await filled(place, source, progress)
  const differ = differences(found, wanted)
  const report = { ok: differ.length === 0, from, differences: differ, found, wanted }
  const says = report.ok ? `${place.name} holds what ${file} does: ${spoken(found)}.` : differ.join('\n')
  process.stdout.write(flags.has('json') ? `${JSON.stringify(report)}\n` : `${says}\n`)
  return report.ok ? 0 : 1
}
