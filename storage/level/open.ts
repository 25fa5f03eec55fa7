/** Puts log and records over one database, after making sure that it is ours and whole. */
import { randomBytes } from 'node:crypto'
import type { Clock, Random, Storage } from '../../core/ports.ts'
import type { StorageObserver } from '../open.ts'
import { Chain } from './chain.ts'
import { Committer } from './committer.ts'
import { DiskGuard } from './disk.ts'
import { Engine, type Level } from './engine.ts'
import { Hot } from './hot.ts'
import { LevelLog } from './log.ts'
import { checkMeta } from './meta.ts'
import { LevelRecords } from './records.ts'
import type { Witness } from './witness.ts'

export interface LevelNeeds {
  clock: Clock
  fsync: boolean
  lowWaterBytes: number
  /** Bytes that may still be written where the database lies. */
  free: () => Promise<number>
  /** Runs after what is at hand now. */
  soon?: (run: () => void) => void
  random?: Random
  observer?: Partial<StorageObserver>
  /** Knows of commits when the database does not. */
  witness?: Witness
}

/** Takes the open database over, and closes it in the end. */
export async function openOver(level: Level, needs: LevelNeeds): Promise<Storage> {
  const { clock, fsync, observer = {}, soon = setImmediate, random = { bytes: randomBytes }, witness } = needs
  const engine = new Engine(level)
  // Without fsync, a power cut takes commits that the witness has seen.
  const chain = new Chain(witness, fsync)
  await checkMeta(engine, await chain.expected())
  await chain.open(engine)
  const disk = new DiskGuard(needs)
  await disk.look()
  const committer = new Committer({ engine, chain, disk, clock, soon, fsync, observer })
  engine.revive = () => committer.ready()
  const shared = { engine, committer, disk, clock, random, observer }
  const log = new LevelLog({ ...shared, hot: new Hot() })
  log.resume()
  return {
    log,
    records: new LevelRecords(shared),
    async ready() {
      await disk.check()
      await committer.ready()
    },
    async [Symbol.asyncDispose]() {
      await committer.close()
      await witness?.close()
      await engine.close()
    },
  }
}
