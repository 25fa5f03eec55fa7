/**
 * Gives the disk back what removed rows took. LevelDB itself does so only where enough is written over them, which for old
 * entries may be never.
 */
import type { Engine } from './engine.ts'

interface Range {
  low: string
  high: string
}

/** Bytes of removed rows that may wait. */
const WAITING_BYTES = 16 * 1024 * 1024
/** What is merged at a time: the engine merges nothing else meanwhile, and writes wait when too much is to be merged. */
const SLICE_BYTES = 64 * 1024 * 1024
/** Ranges beyond are left to the engine. */
const MAX_RANGES = 10_000

export class Compaction {
  readonly #engine: Engine
  readonly #failed: (cause: unknown) => void
  #ranges: Range[] = []
  #bytes = 0
  #running = false

  constructor(engine: Engine, failed: (cause: unknown) => void) {
    this.#engine = engine
    this.#failed = failed
  }

  /** Rows from `low` to `high`, both included, are gone, and so many bytes with them. */
  freed(low: string, high: string, bytes: number): void {
    this.#bytes += bytes
    if (this.#ranges.length < MAX_RANGES) this.#ranges.push({ low, high })
    if (this.#bytes < WAITING_BYTES || this.#running) return
    this.#running = true
    this.#run()
      .catch(this.#failed)
      .finally(() => {
        this.#running = false
      })
  }

  async #run(): Promise<void> {
    while (this.#bytes >= WAITING_BYTES) {
      const ranges = this.#ranges.sort((a, b) => (a.low < b.low ? -1 : 1))
      this.#ranges = []
      this.#bytes = 0
      let slice: Range | undefined
      for (const { low, high } of ranges) {
        if (slice && (await this.#engine.size(slice.low, high)) <= SLICE_BYTES) {
          slice.high = high
          continue
        }
        if (slice) await this.#engine.compact(slice.low, slice.high)
        slice = { low, high }
      }
      if (slice) await this.#engine.compact(slice.low, slice.high)
    }
  }
}
