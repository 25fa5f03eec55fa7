/** The database itself: batched reads and writes, errors as faults, and opening it anew after a write that failed. */
import type { AbstractLevel } from 'abstract-level'
import type { ClassicLevel } from 'classic-level'
import { Fault } from '../../protocol/faults.ts'

/** Keys are text, sorted by their UTF-8 bytes. */
export type Level = AbstractLevel<string | Buffer | Uint8Array, string, Buffer>

export interface Range {
  gt?: string
  gte?: string
  lt?: string
  lte?: string
  limit: number
  reverse?: boolean
  /** Bytes of one read ahead. */
  highWaterMarkBytes?: number
}
type GetMany = (keys: string[]) => Promise<(Buffer | undefined)[]>
export type Write = readonly [key: string, value: Buffer | undefined]

const READ_AHEAD_BYTES = 256 * 1024

/** The cause stays in the server's log. */
export const unavailable = (cause: unknown) =>
  cause instanceof Fault ? cause : new Fault('log-unavailable', {}, { cause })

export class Engine {
  readonly #level: Level
  #reopening: Promise<void> | undefined
  /** Counts how often it was opened anew: a read that began before may be repeated. */
  #epoch = 0
  /** It was closed to be opened anew, and could not be. */
  #isLost = false
  /** Opens it anew where it can be; for a read that finds it closed, as nobody may have anything to write. */
  revive: () => Promise<void> = () => Promise.resolve()

  constructor(level: Level) {
    this.#level = level
  }

  /** Nothing can be read of it. */
  get isLost(): boolean {
    return this.#isLost
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#read(() => this.#level.get(key))
  }

  /** Blocks; for few keys, where a turn of the thread pool would cost more. */
  getSync(key: string): Buffer | undefined {
    return this.#level.getSync(key)
  }

  getMany(keys: string[]): Promise<(Buffer | undefined)[]> {
    return this.#read(() => this.#level.getMany(keys))
  }

  values(range: Range): Promise<Buffer[]> {
    return this.#read(() => this.#level.values(wide(range)).all())
  }

  rows(range: Range): Promise<[string, Buffer][]> {
    return this.#read(() => this.#level.iterator(wide(range)).all())
  }

  /** Rows of a range, and what `then` reads upon them, as they were at one moment. */
  indexed<T>(range: Range, then: (rows: [string, Buffer][], get: GetMany) => Promise<T>): Promise<T> {
    return this.#read(async () => {
      const snapshot = this.#level.snapshot()
      try {
        const rows = await this.#level.iterator({ ...wide(range), snapshot }).all()
        return await then(rows, keys => this.#level.getMany(keys, { snapshot }))
      } finally {
        await snapshot.close()
      }
    })
  }

  /** All or nothing. After a rejection the outcome is unknown until it was opened anew. */
  async write(writes: Iterable<Write>, sync: boolean): Promise<void> {
    const batch = this.#level.batch()
    for (const [key, value] of writes) {
      if (value) batch.put(key, value)
      else batch.del(key)
    }
    await batch.write({ sync } as object)
  }

  /** What a failed write left half done in the engine's log must not be written behind: so that log is replayed first. */
  async reopen(): Promise<void> {
    const reopen = async () => {
      this.#isLost = true
      await this.#level.close()
      await this.#level.open()
      this.#isLost = false
      this.#epoch++
    }
    this.#reopening = reopen()
    try {
      await this.#reopening
    } finally {
      this.#reopening = undefined
    }
  }

  /** Bytes on disk between two keys. */
  size(low: string, high: string): Promise<number> {
    return this.#read(async () => (await this.#files.approximateSize?.(low, high)) ?? 0)
  }

  /** Frees what removed rows between two keys still take. */
  compact(low: string, high: string): Promise<void> {
    return this.#read(async () => this.#files.compactRange?.(low, high))
  }

  /** What a database on disk has and one in memory has not. */
  get #files(): Partial<Pick<ClassicLevel, 'approximateSize' | 'compactRange'>> {
    return this.#level as object
  }

  close(): Promise<void> {
    return this.#level.close()
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    const epoch = this.#epoch
    try {
      if (this.#reopening) await this.#reopening
      else if (this.#isLost) await this.revive()
      return await read()
    } catch (cause) {
      if (!this.#reopening && epoch === this.#epoch) throw unavailable(cause)
    }
    try {
      await this.#reopening
      return await read()
    } catch (cause) {
      throw unavailable(cause)
    }
  }
}

const wide = (range: Range) => ({ highWaterMarkBytes: READ_AHEAD_BYTES, ...range }) as Omit<Range, 'highWaterMarkBytes'>
