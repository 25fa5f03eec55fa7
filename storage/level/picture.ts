/**
 * A database as it is at this moment, in a directory beside it, while a server may go on writing: as kill -9 now would
 * leave it, with everything that was acknowledged before.
 *
 * LevelDB never changes a table once its manifest names it, only appends to its manifest and its logs, and begins a log when
 * it is done with the one before. So the number of the last commit is read first, then the names of the files, then the
 * manifest; the tables that it names get a second name, and of those files the logs that it needs are copied. What it holds
 * by then is left out. If a file has gone meanwhile, what was in it is elsewhere, and all begins anew.
 */
import { copyFile, link, mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Hold, isLeft } from '../hold.ts'
import { readManifest } from './manifest.ts'
import { CannotOpen, Damaged } from './meta.ts'
import { checkLogs } from './wal.ts'

const TRIES = 20
const PREFIX = '.picture-'
/** Says in each that somebody uses it. */
const USED = 'used'
const YOUNG_MS = 60_000

/**
 * Takes it, for `use` alone: it is gone afterwards. It is laid out as a data directory.
 * @throws CannotOpen: there is no database, or it is damaged
 */
export async function pictured<T>(directory: string, use: (picture: string) => Promise<T>): Promise<T> {
  await forgetOld(directory)
  const picture = await mkdtemp(join(directory, PREFIX))
  const hold = await Hold.take(join(picture, USED))
  try {
    await take(directory, picture)
    return await use(picture)
  } finally {
    await rm(picture, { recursive: true, force: true })
    await hold?.release()
  }
}

/** Whoever was killed while they used one has left it. */
async function forgetOld(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => [])
  for (const name of names.filter(name => name.startsWith(PREFIX))) {
    const isNew = await isYoung(join(directory, name))
    if (!isNew && (await isLeft(join(directory, name, USED))))
      await rm(join(directory, name), { recursive: true, force: true })
  }
}

/** Who makes one says so right behind that. */
async function isYoung(picture: string): Promise<boolean> {
  const [made, used] = await Promise.all([
    stat(picture).catch(() => undefined),
    stat(join(picture, USED)).catch(() => undefined),
  ])
  return !used && made !== undefined && Math.abs(Date.now() - made.mtimeMs) < YOUNG_MS
}

async function take(directory: string, picture: string): Promise<void> {
  const to = join(picture, 'level')
  for (let tries = 1; ; tries++) {
    await rm(to, { recursive: true, force: true })
    await mkdir(to)
    try {
      return await tried(directory, picture, to)
    } catch (thrown) {
      const gone = thrown instanceof Damaged || (thrown as NodeJS.ErrnoException).code === 'ENOENT'
      if (!gone || tries === TRIES) throw thrown
    }
  }
}

async function tried(directory: string, picture: string, to: string): Promise<void> {
  const files = join(directory, 'level')
  await copyFile(join(directory, 'last-commit'), join(picture, 'last-commit')).catch(ignoreAbsence)
  const manifest = await readManifest(files)
  if (!manifest) throw new CannotOpen(`The data directory ${directory} holds no database.`)
  for (const { file } of manifest.tables) await name(file, join(to, basename(file)))
  for (const file of manifest.logs) await copyFile(file, join(to, basename(file)))
  const [, named = ''] = manifest.named
  await writeFile(join(to, basename(named)), manifest.content)
  await writeFile(join(to, 'CURRENT'), `${basename(named)}\n`)
  // A write that was under way: nobody was told of it.
  for (const { file, at } of await checkLogs(to)) await truncate(file, at)
}

/** A second name, or a copy where the file system has none. */
async function name(file: string, as: string): Promise<void> {
  await link(file, as).catch(async (thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') throw thrown
    await copyFile(file, as)
  })
}

function ignoreAbsence(thrown: NodeJS.ErrnoException): void {
  if (thrown.code !== 'ENOENT') throw thrown
}
