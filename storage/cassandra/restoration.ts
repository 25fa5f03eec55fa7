/** Fills an empty keyspace from items: with the rows that servers would have written, a bounded number of writes at once. */
import { Fault } from '../../protocol/faults.ts'
import type { Archive, Item, Restoration } from '../archive.ts'
import type { Claim } from './claim.ts'
import type { Filling } from './filling.ts'
import type { Ring, Statement } from './ring.ts'

/** Writes under way, and what one of them holds of its partition. */
const AT_ONCE = 16
const STATEMENTS = 100
const BYTES = 128 * 1024
/** A cluster that is busy with what it was given may be late. */
const TRIES = 6
const PAUSE_MS = 250

export interface RestorationNeeds {
  ring: Ring
  claim: Claim
  filling: Filling
  archive: Archive
  pause: (ms: number) => Promise<void>
  close: () => Promise<void>
}

export class CassandraRestoration implements Restoration {
  readonly #needs: RestorationNeeds

  constructor(needs: RestorationNeeds) {
    this.#needs = needs
  }

  async noted(): Promise<string | undefined> {
    return this.#needs.claim.note
  }

  /** What was written before a failure is written again, and is the same. */
  async put(items: readonly Item[], note: string): Promise<void> {
    const { ring, filling, claim } = this.#needs
    const batches = batched(items.flatMap(item => filling.of(item)))
    for (let at = 0; at < batches.length; at += AT_ONCE)
      await ring.each(batches.slice(at, at + AT_ONCE), batch => this.#write(batch))
    await claim.put(note)
  }

  items(): AsyncIterable<Item[]> {
    return this.#needs.archive.items()
  }

  finish(): Promise<void> {
    return this.#needs.claim.finish()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#needs.close()
  }

  async #write(batch: readonly Statement[]): Promise<void> {
    const { ring, pause } = this.#needs
    for (let tries = 1; ; tries++) {
      try {
        return await ring.write(batch)
      } catch (cause) {
        if (tries === TRIES || !(cause instanceof Fault)) throw cause
        await pause(PAUSE_MS * 2 ** tries)
      }
    }
  }
}

/** Statements of a partition together. */
function batched(placed: readonly (readonly [string, Statement])[]): Statement[][] {
  const open = new Map<string, { batch: Statement[]; bytes: number }>()
  const batches: Statement[][] = []
  for (const [partition, statement] of placed) {
    let last = open.get(partition)
    if (!last || last.batch.length >= STATEMENTS || last.bytes >= BYTES) {
      last = { batch: [], bytes: 0 }
      open.set(partition, last)
      batches.push(last.batch)
    }
    last.batch.push(statement)
    last.bytes += sizeOf(statement)
  }
  return batches
}

const sizeOf = ([, values]: Statement) =>
  values.reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 8), 0)
