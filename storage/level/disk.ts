/** Refuses writes while the disk is at its low-water mark, before the engine fails; reads go on. */
import type { Clock } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { EpochMs } from '../../protocol/ids.ts'
import { WRITE_BUFFER_BYTES } from './chain.ts'

interface Needs {
  clock: Clock
  lowWaterBytes: number
  /** Bytes that may still be written where the database lies. */
  free: () => Promise<number>
}

const LOOK_EVERY_MS = 2_000
/** What is written takes more room for a while: the engine's log, then tables, then merged tables. */
const WRITES_TAKE = 3
/** What opening the database may take, which writes its log as tables. */
const OPENING_BYTES = 2 * WRITE_BUFFER_BYTES

export class DiskGuard {
  readonly #needs: Needs
  #full = false
  /** Bytes when last looked, of them above the mark. */
  #free = Number.POSITIVE_INFINITY
  #room = Number.POSITIVE_INFINITY
  #spent = 0
  #lookedAt: EpochMs = Number.NEGATIVE_INFINITY
  #looking: Promise<void> | undefined

  constructor(needs: Needs) {
    this.#needs = needs
  }

  /** Looks now and then, when there is something to write. @throws Fault `storage-full` */
  permit(bytes: number): void {
    this.#spent += bytes * WRITES_TAKE
    const since = this.#needs.clock.now() - this.#lookedAt
    if (since >= LOOK_EVERY_MS || since < 0 || (this.#spent > this.#room && since > 0)) void this.look()
    if (this.#full) throw this.#fault()
  }

  /** @throws Fault `storage-full` */
  async check(): Promise<void> {
    await this.look()
    if (this.#full) throw this.#fault()
  }

  /** Whether the database can be opened anew. @throws Fault `storage-full` */
  async mayOpen(): Promise<void> {
    await this.look()
    if (this.#free < OPENING_BYTES) throw this.#fault()
  }

  #fault(): Fault {
    return new Fault('storage-full', { lowWaterBytes: this.#needs.lowWaterBytes })
  }

  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    this.#lookedAt = this.#needs.clock.now()
    try {
      this.#free = await this.#needs.free()
      this.#room = this.#free - this.#needs.lowWaterBytes
      this.#spent = 0
      this.#full = this.#room <= 0
    } catch {
      // A disk that cannot tell its room is left to the engine's own errors.
    }
  }
}
