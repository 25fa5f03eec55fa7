/**
 * A disk below the embedded engine, as far as the engine trusts one: a batch is there or not, what was synced stays, and
 * of what was not a power cut keeps some prefix. Every answer waits for its turn; reads and writes fail when told to.
 */
import { MemoryLevel } from 'memory-level'
import type { Level } from '../../storage/level/engine.ts'
import type { Chance } from '../support/proof.ts'
import type { Life } from './turns.ts'

interface Operation {
  type: 'put' | 'del'
  key: Buffer
  value?: Buffer
}

/** What of MemoryLevel is overridden; it does not declare it. */
interface Inside {
  _get(key: unknown, options: unknown): Promise<unknown>
  _getMany(keys: unknown, options: unknown): Promise<unknown>
  _batch(operations: Operation[], options: { sync?: boolean }): Promise<void>
  _values(options: unknown): Paged
  _iterator(options: unknown): Paged
}
interface Paged {
  _all(options: unknown): Promise<unknown>
}

export class Disk {
  /** Batches in the order of their writing. */
  #batches: Operation[][]
  /** As many of them survive a power cut. */
  #synced: number
  /** Share of reads and of writes that fail. */
  failing = 0
  readonly #chance: Chance

  constructor(chance: Chance, image: readonly Operation[][] = []) {
    this.#chance = chance
    this.#batches = [...image]
    this.#synced = image.length
  }

  /** What it holds, to begin other runs with. */
  get image(): readonly Operation[][] {
    return this.#batches
  }

  /** The machine goes down: some of what was not synced is lost, from a moment on. */
  cutPower(): void {
    const kept = this.#synced + this.#chance.below(this.#batches.length - this.#synced + 1)
    this.#batches.length = kept
    this.#synced = kept
  }

  /** Opens what is there, for a process. */
  async open(life: Life): Promise<Level> {
    const level = new MemoryLevel<string, Buffer>({ valueEncoding: 'buffer' })
    await level.open()
    const inside = level as unknown as Inside
    const write = inside._batch.bind(level)
    await write(this.#batches.flat(), {})
    this.#delay(inside, life)
    inside._batch = (operations, { sync }) => this.#write(life, write, operations, sync === true)
    return level
  }

  #delay(inside: Inside, life: Life): void {
    const answer = async <T>(read: () => Promise<T>): Promise<T> => {
      await life.turn()
      if (this.#chance.happens(this.failing)) throw new Error('the disk does not answer')
      const found = await read()
      // The answer may come when something else has been written.
      if (this.#chance.happens(0.5)) await life.turn()
      return found
    }
    for (const name of ['_get', '_getMany'] as const) {
      const read = inside[name].bind(inside)
      inside[name] = (keys, options) => answer(() => read(keys, options))
    }
    for (const name of ['_values', '_iterator'] as const) {
      const open = inside[name].bind(inside)
      inside[name] = options => {
        const rows = open(options)
        const all = rows._all.bind(rows)
        rows._all = more => answer(() => all(more))
        return rows
      }
    }
  }

  async #write(life: Life, write: Inside['_batch'], operations: Operation[], sync: boolean): Promise<void> {
    await life.turn()
    const fails = this.#chance.happens(this.failing)
    // A write that fails may be there all the same.
    if (!fails || this.#chance.happens(0.5)) {
      await write(operations, {})
      const kept = operations.map(({ type, key, value }) => ({ type, key, ...(value && { value }) }))
      this.#batches.push(kept)
    }
    const upTo = this.#batches.length
    await life.turn()
    if (fails) throw new Error('the disk does not answer')
    if (sync) this.#synced = Math.max(this.#synced, upTo)
  }
}
