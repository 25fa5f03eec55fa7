/**
 * A directory of backups, whatever they hold: numbered ones, each with its list, and one that is being made, which has
 * another name and goes on where it was interrupted.
 */
import { open, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Hold, holderOf } from './hold.ts'
import { CannotOpen } from './level/meta.ts'

export const LIST = 'backup.json'
export const UNDER_WAY = 'unfinished'

/** Names of complete ones, oldest first; none where there is no directory. */
export async function numbersIn(place: string): Promise<string[]> {
  const names = await readdir(place).catch((thrown: NodeJS.ErrnoException): string[] => {
    if (thrown.code === 'ENOENT') return []
    throw thrown
  })
  return names.filter(name => /^\d{4,}$/.test(name)).sort((a, b) => Number(a) - Number(b))
}

export const nameAfter = (newest: string | undefined) => String(Number(newest ?? 0) + 1).padStart(4, '0')

/** @throws CannotOpen: it cannot be read, or `isOurs` refuses it */
export async function listOf<List extends object>(
  place: string,
  name: string,
  isOurs: (list: object) => list is List,
): Promise<List> {
  const file = join(place, name, LIST)
  let list: unknown
  try {
    list = JSON.parse(await readFile(file, 'utf8'))
  } catch (cause) {
    throw new CannotOpen(`The backup's list ${file} cannot be read.`, { cause })
  }
  if (typeof list === 'object' && list !== null && isOurs(list)) return list
  throw new CannotOpen(`The backup's list ${file} is not one that this version reads.`)
}

/**
 * Gives what was being made its name, when its list, its files and `folders` of it are durable.
 * @throws CannotOpen: another has been at it, and there is no telling what it is now
 */
export async function complete(
  { place, hold }: { place: string; hold: Hold },
  list: { name: string },
  folders: readonly string[] = [],
): Promise<void> {
  const to = join(place, UNDER_WAY)
  await written(join(to, LIST), `${JSON.stringify(list, undefined, 1)}\n`)
  for (const folder of [...folders, to]) await sync(folder)
  if (!(await hold.stands())) throw new CannotOpen(`Another backup was begun in ${place} meanwhile.`)
  await rename(to, join(place, list.name))
  await sync(place)
}

/** One process at a time. @throws CannotOpen: another is at it */
export async function alone(place: string): Promise<Hold> {
  const file = join(place, 'lock')
  const hold = await Hold.take(file)
  if (hold) return hold
  const by = await holderOf(file)
  throw new CannotOpen(
    `Another backup is being made in ${place}, by process ${by}. If that is none: wait for a minute, or remove ${file}.`,
  )
}

async function written(path: string, text: string): Promise<void> {
  await using file = await open(path, 'w', 0o600)
  await file.writeFile(text)
  await file.sync()
}
async function sync(path: string): Promise<void> {
  await using folder = await open(path)
  await folder.sync()
}
