/** Times in milliseconds, counted in buckets of 1.6 % width; adding one costs a few nanoseconds. */
const SUB = 64

export class Histogram {
  readonly #counts = new Uint32Array(SUB * 40)
  #total = 0

  /** @param ms counted in steps of a microsecond */
  add(ms: number): void {
    const at = bucket(Math.max(0, Math.round(ms * 1_000)))
    this.#counts[at] = (this.#counts[at] as number) + 1
    this.#total++
  }

  clear(): void {
    this.#counts.fill(0)
    this.#total = 0
  }

  /** The quantile, or null where nothing was counted. */
  quantileMs(share: number): number | null {
    let left = Math.floor(share * this.#total)
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i] as number
      if (left < 0) return value(i) / 1_000
    }
    return null
  }
}

function bucket(us: number): number {
  if (us < SUB) return us
  const shift = 31 - Math.clz32(us) - 6
  return Math.min((shift + 1) * SUB + (us >>> shift) - SUB, SUB * 40 - 1)
}

function value(i: number): number {
  if (i < SUB) return i
  return ((i % SUB) + SUB) * 2 ** (Math.floor(i / SUB) - 1)
}
