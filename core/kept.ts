/** Values kept in memory: loaded once however many ask, dropped when something changes them, the least used first. */

interface Options<Value> {
  load: (key: string) => Promise<Value>
  /** What all kept values may weigh together. */
  most: number
  weigh?: (value: Value) => number
  /** Begun before a value is loaded, and ended, by what it returns, when the value is kept no longer. */
  hold?: (key: string) => () => void
}

export class Kept<Value extends object> {
  readonly #load: (key: string) => Promise<Value>
  readonly #most: number
  readonly #weigh: (value: Value) => number
  // In the order of their last use.
  readonly #values = new Map<string, { value: Value; weight: number }>()
  readonly #loading = new Map<string, { value: Promise<Value>; stale: boolean }>()
  readonly #hold: ((key: string) => () => void) | undefined
  readonly #held = new Map<string, () => void>()
  #weight = 0

  constructor({ load, most, weigh = () => 1, hold }: Options<Value>) {
    this.#load = load
    this.#most = most
    this.#weigh = weigh
    this.#hold = hold
  }

  peek(key: string): Value | undefined {
    const held = this.#values.get(key)
    if (!held) return undefined
    this.#values.delete(key)
    this.#values.set(key, held)
    return held.value
  }

  /** At once where it is at hand. */
  get(key: string): Value | Promise<Value> {
    return this.peek(key) ?? this.#loading.get(key)?.value ?? this.#begin(key)
  }

  /** Forgets a value, one that is being loaded included: what was read before now may be old. */
  drop(key: string): void {
    this.#forget(key)
    const loading = this.#loading.get(key)
    if (loading) loading.stale = true
    else this.#release(key)
  }

  #forget(key: string): void {
    const held = this.#values.get(key)
    if (held) this.#weight -= held.weight
    this.#values.delete(key)
  }

  #release(key: string): void {
    this.#held.get(key)?.()
    this.#held.delete(key)
  }

  /** Keeps a value, or weighs one again that was changed in place. */
  keep(key: string, value: Value): void {
    this.#forget(key)
    const loading = this.#loading.get(key)
    if (loading) loading.stale = true
    if (this.#hold && !this.#held.has(key)) this.#held.set(key, this.#hold(key))
    const weight = this.#weigh(value)
    this.#values.set(key, { value, weight })
    this.#weight += weight
    for (const oldest of this.#values.keys()) {
      if (this.#weight <= this.#most || oldest === key) break
      this.#forget(oldest)
      this.#release(oldest)
    }
  }

  #begin(key: string): Promise<Value> {
    if (this.#hold && !this.#held.has(key)) this.#held.set(key, this.#hold(key))
    const loading = { value: undefined as unknown as Promise<Value>, stale: false }
    loading.value = this.#loadFresh(key, loading)
    this.#loading.set(key, loading)
    return loading.value
  }

  async #loadFresh(key: string, loading: { stale: boolean }): Promise<Value> {
    try {
      for (;;) {
        loading.stale = false
        const value = await this.#load(key)
        if (loading.stale) continue
        this.keep(key, value)
        return value
      }
    } finally {
      this.#loading.delete(key)
      if (!this.#values.has(key)) this.#release(key)
    }
  }
}
