/** `im backup` and `im restore`, into a directory of backups and out of it: files of the embedded engine, or items of a cluster. */
import { resolve } from 'node:path'
import { type Backup, backup, restore } from '../../storage/open.ts'
import { kindIn } from '../archive/backups.ts'
import type { Given } from '../commands.ts'
import { backingUpItems, restoringItems } from './item-backup.ts'
import { Progress, percent } from './progress.ts'
import { kept } from './settings.ts'
import { CannotDo } from './trouble.ts'

const MIB = 1024 * 1024

export async function backingUp({ words: [name = ''], flags }: Given): Promise<number> {
  const from = kept()
  const place = resolve(name)
  const { directory } = from
  const kind = (await kindIn(place)) ?? 'none'
  if (kind === (directory === undefined ? 'files' : 'items'))
    throw new CannotDo(`${place} has backups of another kind of storage: name another directory.`)
  using progress = new Progress()
  if (directory === undefined) return backingUpItems(from, place, flags, progress)
  const made = await backup(directory, place, { full: flags.has('full'), told: telling(progress) })
  const own = made.files.filter(file => file.in === made.name)
  const rest = made.full
    ? 'full'
    : `${own.length} of ${made.files.length} files are new, the others are in ${holders(made)}`
  const says = `Backup ${made.name} of ${directory} is in ${place}: ${size(made.files)}, ${size(own)} of it new (${rest}).`
  process.stdout.write(flags.has('json') ? `${JSON.stringify(summary(made))}\n` : `${says}\n`)
  return 0
}

export async function restoring({ words: [name = ''], flags, values }: Given): Promise<number> {
  const to = kept()
  const place = resolve(name)
  const { directory } = to
  const { backup: number } = values
  using progress = new Progress()
  const named = number?.padStart(4, '0')
  const kind = await kindIn(place)
  if (kind === 'items') return restoringItems(to, place, { named, flags, progress })
  if (directory === undefined && kind === undefined) throw new CannotDo(`There is no backup in ${place}.`)
  if (directory === undefined)
    throw new CannotDo(
      `${place} has files of the embedded engine: bring them back with IM_STORAGE=level, then move everything by \`im export\` and \`im import\`.`,
    )
  const how = { ...(named !== undefined && { name: named }), told: telling(progress) }
  const made = await restore(directory, place, how)
  const says = `${directory} is as it was at ${new Date(made.madeAt).toISOString()} (backup ${made.name} of ${place}).`
  process.stdout.write(flags.has('json') ? `${JSON.stringify(summary(made))}\n` : `${says}\n`)
  return 0
}

const telling = (progress: Progress) => (done: { bytes: number; of: number }) =>
  progress.tell(() => `${percent(done.bytes / done.of)} of ${Math.ceil(done.of / MIB)} MiB`)

const bytesOf = (files: Backup['files']) => files.reduce((sum, { bytes }) => sum + bytes, 0)
const size = (files: Backup['files']) => `${(bytesOf(files) / MIB).toFixed(1)} MiB`
const holders = ({ name, files }: Backup) =>
  [...new Set(files.map(file => file.in))].filter(holder => holder !== name).join(', ')

function summary(made: Backup) {
  const { name, full, madeAt, files } = made
  const own = files.filter(file => file.in === name)
  return {
    backup: name,
    full,
    madeAt,
    files: files.length,
    bytes: bytesOf(files),
    newFiles: own.length,
    newBytes: bytesOf(own),
  }
}
