/** `im export`: everything that is stored into one file; on the embedded engine as it is at one moment, while a server goes on. */
import { resolve } from 'node:path'
import { writeExport } from '../archive/file.ts'
import { spoken } from '../archive/tally.ts'
import type { Given } from '../commands.ts'
import { Progress } from './progress.ts'
import { kept } from './settings.ts'

export async function exporting({ words: [name = ''], flags }: Given): Promise<number> {
  const { archived, directory } = kept()
  const file = resolve(name)
  using progress = new Progress()
  const totals = await archived(archive =>
    writeExport(file, archive, lines => progress.tell(() => `${lines} lines are written`)),
  )
  const moment = directory === undefined ? ' It is of one moment only if no server ran meanwhile.' : ''
  const says = `${file} holds ${spoken(totals)}. SHA-256: ${totals.sha256}${moment === '' ? '' : `.${moment}`}`
  process.stdout.write(`${flags.has('json') ? JSON.stringify(totals) : says}\n`)
  return 0
}
