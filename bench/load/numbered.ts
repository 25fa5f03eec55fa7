/** Texts that carry who sent them and their number, so that every loss, double and disorder is seen. */

/** `~@`, sender in 4 digits, number in 8 digits, filler. */
const MARK = Buffer.from('~@')
const SENDER_DIGITS = 4
const NUMBER_DIGITS = 8
const FILLER = 'The quick brown fox jumps over the lazy dog, and then it does so again. '

/** A text of that many bytes; the number is written into it later. */
export function textOf(sender: number, bytes: number): string {
  const head = `~@${String(sender).padStart(SENDER_DIGITS, '0')}${'0'.repeat(NUMBER_DIGITS)} `
  return (head + FILLER.repeat(Math.ceil(bytes / FILLER.length))).slice(0, bytes)
}

/** Where the number stands in a payload that holds such a text. */
export const numberAt = (payload: Buffer): number => payload.indexOf(MARK) + MARK.length + SENDER_DIGITS

export function writeNumber(into: Buffer, at: number, number: number): void {
  let rest = number
  for (let i = at + NUMBER_DIGITS - 1; i >= at; i--) {
    into[i] = 48 + (rest % 10)
    rest = Math.floor(rest / 10)
  }
}

function digits(of: Buffer, at: number, count: number): number {
  let value = 0
  for (let i = at; i < at + count; i++) value = value * 10 + (of[i] as number) - 48
  return value
}

/** Finds the text in a payload. Entries of one run look alike, so it is looked for where the last one was. */
export class Reader {
  sender = 0
  number = 0
  #guess = 0

  /** Whether there is one; it is then in `sender` and `number`. */
  read(bytes: Buffer, start: number, end: number): boolean {
    let at = start + this.#guess
    if (bytes[at] !== 0x7e || bytes[at + 1] !== 0x40) {
      at = bytes.indexOf(MARK, start)
      if (at === -1 || at >= end) return false
      this.#guess = at - start
    }
    this.sender = digits(bytes, at + 2, SENDER_DIGITS)
    this.number = digits(bytes, at + 2 + SENDER_DIGITS, NUMBER_DIGITS)
    return true
  }
}
