/** What one receiver got of one sender, who numbers from 0: exact counts of doubles, disorder and losses. */
export class Sequence {
  doubled = 0
  reordered = 0
  /** One above the highest number that came. */
  #next = 0
  readonly #missing = new Set<number>()

  /** Whether the number is new. */
  take(number: number): boolean {
    if (number === this.#next) {
      this.#next++
      return true
    }
    if (number > this.#next) {
      for (let skipped = this.#next; skipped < number; skipped++) this.#missing.add(skipped)
      this.#next = number + 1
      return true
    }
    if (!this.#missing.delete(number)) {
      this.doubled++
      return false
    }
    this.reordered++
    return true
  }

  /** How many of the first `sent` numbers have not come. */
  lost(sent: number): number {
    return this.#missing.size + Math.max(0, sent - this.#next)
  }
}
