/** `im backup` and `im restore`: the files of the database, into a directory of backups and out of it. */
import { resolve } from 'node:path'
import { type Backup, backup, restore } from '../../storage/open.ts'
import type { Given } from '../commands.ts'
import { Progress, percent } from './progress.ts'
import { onDisk } from './settings.ts'

const MIB = 1024 * 1024

export async function backingUp({ words: [name = ''], flags }: Given): Promise<number> {
  const { directory } = onDisk()
  const place = resolve(name)
  using progress = new Progress()
  const made = await backup(directory, place, { full: flags.has('full'), told: telling(progress) })
  const own = made.files.filter(file => file.in === made.name)
  const kind = made.full
    ? 'full'
    : `${own.length} of ${made.files.length} files are new, the others are in ${holders(made)}`
  const says = `Backup ${made.name} of ${directory} is in ${place}: ${size(made.files)}, ${size(own)} of it new (${kind}).`
  process.stdout.write(flags.has('json') ? `${JSON.stringify(summary(made))}\n` : `${says}\n`)
  return 0
}

export async function restoring({ words: [name = ''], flags, values }: Given): Promise<number> {
  const { directory } = onDisk()
  const place = resolve(name)
  using progress = new Progress()
  const { backup: number } = values
  const how = { ...(number !== undefined && { name: number.padStart(4, '0') }), told: telling(progress) }
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
