/** The database's files, as they lie, before LevelDB opens them: it would mend in silence what cannot be mended. */
import { existsSync } from 'node:fs'
import { link, mkdtemp, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { readManifest } from './manifest.ts'
import type { Damaged } from './meta.ts'
import { checkTables } from './tables.ts'
import { checkLogs, type Torn } from './wal.ts'

export interface Files {
  /** Undefined: there is no database yet. */
  made: { tables: number; bytes: number } | undefined
  torn: Torn[]
}

/** Everything that LevelDB will read. @throws Damaged: the first thing found, unless `told` takes what tables say. */
export async function checkFiles(directory: string, told: (damaged: Damaged) => void = raise): Promise<Files> {
  const manifest = await readManifest(directory)
  if (!manifest) return { made: undefined, torn: [] }
  const torn = await checkLogs(directory)
  await checkTables(manifest.tables, told)
  const bytes = manifest.tables.reduce((sum, table) => sum + table.bytes, 0)
  return { made: { tables: manifest.tables.length, bytes }, torn }
}

function raise(damaged: Damaged): never {
  throw damaged
}

/**
 * Keeps other processes from opening the database, without opening it: a lock is on the file, whatever its name, so an
 * empty database beside it is opened with a second name of the lock's file. Undefined: it is in use.
 */
export async function lock(directory: string): Promise<(() => Promise<void>) | undefined> {
  if (!existsSync(join(directory, 'LOCK'))) return async () => {}
  const beside = await mkdtemp(join(dirname(directory), '.lock-'))
  const remove = () => rm(beside, { recursive: true, force: true })
  try {
    await link(join(directory, 'LOCK'), join(beside, 'LOCK'))
    // It begins to open when it is made.
    const level = new ClassicLevel(beside)
    await level.open()
    return async () => {
      await level.close()
      await remove()
    }
  } catch (thrown) {
    await remove()
    if ((thrown as { cause?: { code?: string } }).cause?.code === 'LEVEL_LOCKED') return undefined
    throw thrown
  }
}
