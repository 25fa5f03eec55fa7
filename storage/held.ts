/** What one node holds: of several holds of a key, one is shown. */

export interface Hold {
  value: string
  rank: number
}

export class Held {
  readonly #holds = new Map<string, Hold[]>()

  get size(): number {
    return this.#holds.size
  }

  add(key: string, hold: Hold): void {
    const there = this.#holds.get(key)
    if (there) there.push(hold)
    else this.#holds.set(key, [hold])
  }

  /** Whether it was there. */
  remove(key: string, hold: Hold): boolean {
    const there = this.#holds.get(key)
    const at = there?.indexOf(hold) ?? -1
    if (!there || at < 0) return false
    there.splice(at, 1)
    if (there.length === 0) this.#holds.delete(key)
    return true
  }

  /** The highest rank, of equal ones the latest. */
  shown(key: string): Hold | undefined {
    return this.#holds.get(key)?.reduce((best, hold) => (hold.rank >= best.rank ? hold : best))
  }

  keys(): IterableIterator<string> {
    return this.#holds.keys()
  }
}
