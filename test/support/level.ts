/** Storage over a database that a test holds in its hands. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type LevelNeeds, openOver } from '../../storage/level/open.ts'
import { openDirectory } from '../../storage/open.ts'
import { TestClock } from '../contracts/ground.ts'

export async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'storage-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** Storage whose database lies open beside it. */
export async function opened(t: TestContext, directory: string, more: Partial<LevelNeeds> = {}) {
  const level = await openDirectory(directory)
  t.after(() => level.close())
  const clock = new TestClock()
  const free = async () => 1e12
  const storage = await openOver(level, { clock, fsync: false, lowWaterBytes: 0, free, ...more })
  return { level, storage, clock }
}
