/** Reads what LevelDB writes in the files that tell about others: variable-length numbers, and text with its length. */

/** @throws RangeError: past the end, or not a safe integer. */
export class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.at = at
  }

  get atEnd(): boolean {
    return this.at >= this.#bytes.length
  }

  /** Seven bits a byte, the lowest first; the high bit says that more follow. */
  number(): number {
    let number = 0
    for (let scale = 1; scale <= 2 ** 63; scale *= 128) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) throw new RangeError('it ends within a number')
      number += (byte & 127) * scale
      if (byte < 128) {
        if (!Number.isSafeInteger(number)) throw new RangeError('a number is too large')
        return number
      }
    }
    throw new RangeError('a number has no end')
  }

  bytes(length: number): Buffer {
    const end = this.at + length
    if (end > this.#bytes.length) throw new RangeError('it ends within a text')
    const bytes = this.#bytes.subarray(this.at, end)
    this.at = end
    return bytes
  }
}
