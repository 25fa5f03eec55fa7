/**
 * A database as it is at this moment, in a directory beside it, while a server may go on writing: as kill -9 now would
 * leave it, with everything that was acknowledged before.
 *
 * LevelDB never changes a table once its manifest names it, and only appends to its manifest and its logs. So the number of
 * the last commit is read first, then the manifest; its tables get a second name, and the logs from the one that it names
 * on are copied. Then the manifest is read again: as long as it names the same log, no log has gone into a table. If it
 * names another, or a file has gone meanwhile, all begins anew.
 */
import { copyFile, link, mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Manifest, readManifest } from './manifest.ts'
import { CannotOpen, Damaged } from './meta.ts'
import { checkLogs } from './wal.ts'

const TRIES = 20
const PREFIX = '.picture-'

/**
 * Takes it, for `use` alone: it is gone afterwards. It is laid out as a data directory.
 * @throws CannotOpen: there is no database, or it is damaged
 */
export async function pictured<T>(directory: string, use: (picture: string) => Promise<T>): Promise<T> {
  await forgetOld(directory)
  const picture = await mkdtemp(join(directory, `${PREFIX}${process.pid}-`))
  try {
    await take(directory, picture)
    return await use(picture)
  } finally {
    await rm(picture, { recursive: true, force: true })
  }
}

/** Whoever was killed while they used one has left it. */
async function forgetOld(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => [])
  for (const name of names) {
    const pid = new RegExp(`^\\${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !lives(Number(pid))) await rm(join(directory, name), { recursive: true, force: true })
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function take(directory: string, picture: string): Promise<void> {
  const to = join(picture, 'level')
  for (let tries = 1; ; tries++) {
    await rm(to, { recursive: true, force: true })
    await mkdir(to)
    try {
      if (await tried(directory, picture, to)) return
    } catch (thrown) {
      const gone = thrown instanceof Damaged || (thrown as NodeJS.ErrnoException).code === 'ENOENT'
      if (!gone || tries === TRIES) throw thrown
    }
    if (tries === TRIES) throw new CannotOpen(`The database of ${directory} changes faster than it can be copied.`)
  }
}

async function tried(directory: string, picture: string, to: string): Promise<boolean> {
  const files = join(directory, 'level')
  await copyFile(join(directory, 'last-commit'), join(picture, 'last-commit')).catch(ignoreAbsence)
  const before = await readManifest(files)
  if (!before) throw new CannotOpen(`The data directory ${directory} holds no database.`)
  for (const { file } of before.tables) await name(file, join(to, basename(file)))
  for (const file of before.logs) await copyFile(file, join(to, basename(file)))
  const after = await readManifest(files)
  if (!after || after.named.join() !== before.named.join() || after.log !== before.log) return false
  await writeFile(join(to, basename(manifestOf(before))), before.content)
  await writeFile(join(to, 'CURRENT'), `${basename(manifestOf(before))}\n`)
  // A write that was under way: nobody was told of it.
  for (const { file, at } of await checkLogs(to)) await truncate(file, at)
  return true
}

const manifestOf = ({ named }: Manifest) => named[1] as string

/** A second name, or a copy where the file system has none. */
export async function name(file: string, as: string): Promise<void> {
  await link(file, as).catch(async (thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT') throw thrown
    await copyFile(file, as)
  })
}

function ignoreAbsence(thrown: NodeJS.ErrnoException): void {
  if (thrown.code !== 'ENOENT') throw thrown
}
