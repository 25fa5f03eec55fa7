/** `im export`: everything that is stored, as it is at one moment, into one file. A server may go on meanwhile. */
import { resolve } from 'node:path'
import { withArchive } from '../../storage/open.ts'
import { writeExport } from '../archive/file.ts'
import { spoken } from '../archive/tally.ts'
import type { Given } from '../commands.ts'
import { Progress } from './progress.ts'
import { onDisk } from './settings.ts'

export async function exporting({ words: [name = ''], flags }: Given): Promise<number> {
  const { directory } = onDisk()
  const file = resolve(name)
  using progress = new Progress()
  const totals = await withArchive(directory, archive =>
    writeExport(file, archive, lines => progress.tell(() => `${lines} lines are written`)),
  )
  process.stdout.write(
    flags.has('json') ? `${JSON.stringify(totals)}\n` : `${file} holds ${spoken(totals)}. SHA-256: ${totals.sha256}\n`,
  )
  return 0
}
