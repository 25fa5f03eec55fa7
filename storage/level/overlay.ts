/** What transactions of one batch see: the rows on disk, those written before in the batch, and their own. */
import type { Engine } from './engine.ts'

export class Rows {
  readonly #engine: Pick<Engine, 'getSync' | 'getMany'>
  readonly #loaded = new Map<string, Buffer | undefined>()
  readonly #written = new Map<string, Buffer | undefined>()
  /** Writes of the transaction under way. */
  readonly #own = new Map<string, Buffer | undefined>()
  #bytes = 0

  constructor(engine: Pick<Engine, 'getSync' | 'getMany'>) {
    this.#engine = engine
  }

  /** Reads what is not known yet; up to `few` keys in this thread. */
  async load(keys: readonly string[], few: number): Promise<void> {
    const missing = keys.filter(key => !this.#loaded.has(key) && !this.#written.has(key))
    // Of few keys, `get` reads each when it is needed.
    if (missing.length <= few) return
    const values = await this.#engine.getMany(missing)
    for (const [at, key] of missing.entries()) this.#loaded.set(key, values[at])
  }

  get(key: string): Buffer | undefined {
    if (this.#own.size > 0 && this.#own.has(key)) return this.#own.get(key)
    const written = this.#written.get(key)
    if (written || this.#written.has(key)) return written
    const loaded = this.#loaded.get(key)
    if (loaded || this.#loaded.has(key)) return loaded
    const value = this.#engine.getSync(key)
    this.#loaded.set(key, value)
    return value
  }

  put(key: string, value: Buffer): void {
    this.#own.set(key, value)
  }
  delete(key: string): void {
    this.#own.set(key, undefined)
  }

  keep(): void {
    for (const [key, value] of this.#own) {
      this.#written.set(key, value)
      this.#bytes += key.length + (value?.length ?? 0)
    }
    this.#own.clear()
  }
  discard(): void {
    this.#own.clear()
  }

  get size(): number {
    return this.#written.size
  }
  get bytes(): number {
    return this.#bytes
  }
  writes(): Iterable<[string, Buffer | undefined]> {
    return this.#written
  }
}
