/**
 * A directory of backups, whatever they hold: numbered ones, each with its list, and one that is being made, which has
 * another name and goes on where it was interrupted.
 */
import { open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CannotOpen } from './level/meta.ts'
import { lives } from './level/picture.ts'

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

/** Gives what was being made its name, when its list, its files and `folders` of it are durable. */
export async function complete(place: string, list: { name: string }, folders: readonly string[] = []): Promise<void> {
  const to = join(place, UNDER_WAY)
  await written(join(to, LIST), `${JSON.stringify(list, undefined, 1)}\n`)
  for (const folder of [...folders, to]) await sync(folder)
  await rename(to, join(place, list.name))
  await sync(place)
}

/** One process at a time; what it resolves to ends it. @throws CannotOpen: another is at it */
export async function alone(place: string): Promise<() => Promise<void>> {
  const file = join(place, 'lock')
  for (;;) {
    try {
      await writeFile(file, `${process.pid}\n`, { flag: 'wx', mode: 0o600 })
      return () => rm(file, { force: true })
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
    }
    const pid = Number(await readFile(file, 'utf8').catch(() => ''))
    // Ours is that of one before: in a container every process is the first.
    if (pid > 0 && pid !== process.pid && lives(pid))
      throw new CannotOpen(
        `Another backup is being made in ${place}, by process ${pid}. If that is none: remove ${file}.`,
      )
    await rm(file, { force: true })
  }
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
