/** A set of sequence numbers as ranges: one range for what comes in order, however much that is. */
export class Spans {
  /** First and last of each range, ascending. */
  readonly #ends: number[] = []

  get first(): number {
    return this.#ends[0] ?? 0
  }
  get last(): number {
    return this.#ends[this.#ends.length - 1] ?? 0
  }

  /** Whether it was not there before. */
  add(seq: number): boolean {
    const ends = this.#ends
    const top = ends.length - 1
    const last = ends[top]
    if (last === undefined || seq > last + 1) ends.push(seq, seq)
    else if (seq === last + 1) ends[top] = seq
    else {
      if (this.has(seq)) return false
      this.cover(seq, seq)
    }
    return true
  }

  has(seq: number): boolean {
    const at = this.#from(seq)
    return at < this.#ends.length && (this.#ends[at] as number) <= seq
  }

  /** Adds all from `from` to `to`. */
  cover(from: number, to: number): void {
    // The ranges that it touches become one with it.
    const start = this.#from(from - 1)
    let end = start
    let low = from
    let high = to
    while (end < this.#ends.length && (this.#ends[end] as number) <= to + 1) {
      low = Math.min(low, this.#ends[end] as number)
      high = Math.max(high, this.#ends[end + 1] as number)
      end += 2
    }
    this.#ends.splice(start, end - start, low, high)
  }

  /** The ranges, cut to `from` to `to`. */
  within(from: number, to: number): [from: number, to: number][] {
    const found: [number, number][] = []
    for (let at = this.#from(from); at < this.#ends.length && (this.#ends[at] as number) <= to; at += 2)
      found.push([Math.max(from, this.#ends[at] as number), Math.min(to, this.#ends[at + 1] as number)])
    return found
  }

  /** What is missing between `from` and `to`. */
  missing(from: number, to: number): [from: number, to: number][] {
    const found: [number, number][] = []
    let next = from
    for (const [first, last] of this.within(from, to)) {
      if (first > next) found.push([next, first - 1])
      next = last + 1
    }
    if (next <= to) found.push([next, to])
    return found
  }

  /** Where the first range stands that ends at `seq` or above. */
  #from(seq: number): number {
    const ends = this.#ends
    let low = 0
    let high = ends.length >> 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ends[2 * middle + 1] as number) < seq) low = middle + 1
      else high = middle
    }
    return 2 * low
  }
}
