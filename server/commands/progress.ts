/** How far long work has come, on standard error: in place on a terminal, else a line now and then. */
const TERMINAL_MS = 200
const ELSEWHERE_MS = 5_000

export class Progress implements Disposable {
  readonly #terminal = process.stderr.isTTY === true
  #toldAt = performance.now()

  /** `says` is asked only when it is time to tell. */
  tell(says: () => string): void {
    const now = performance.now()
    if (now - this.#toldAt < (this.#terminal ? TERMINAL_MS : ELSEWHERE_MS)) return
    this.#toldAt = now
    process.stderr.write(this.#terminal ? `\r\x1b[K${says()}` : `${says()}\n`)
  }

  [Symbol.dispose](): void {
    if (this.#terminal) process.stderr.write('\r\x1b[K')
  }
}

export const percent = (share: number) => `${Math.floor(share * 100)} %`
