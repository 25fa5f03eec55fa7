/** Decides when everything that waits goes on. */
import type { Scheduler } from '../../core/ports.ts'

export class Turns implements Scheduler {
  #time = 1_000
  readonly #ready: (() => void)[] = []
  readonly #timers: { at: number; run: () => void }[] = []
  now() {
    return this.#time
  }
  after(ms: number, run: () => void) {
    const timer = { at: this.#time + ms, run }
    this.#timers.push(timer)
    return () => {
      const i = this.#timers.indexOf(timer)
      if (i >= 0) this.#timers.splice(i, 1)
    }
  }
  soon(run: () => void) {
    this.#ready.push(run)
  }
  /** Answers when its turn comes, with what is true then. */
  later<T>(answer: () => T): Promise<T> {
    return new Promise((resolve, reject) =>
      this.#ready.push(() => {
        try {
          resolve(answer())
        } catch (error) {
          reject(error)
        }
      }),
    )
  }
  /** Lets one thing go on; whether there was any. */
  async step(choice: number): Promise<boolean> {
    if (this.#ready.length === 0) {
      const next = this.#timers.sort((a, b) => a.at - b.at).shift()
      if (!next) return false
      this.#time = Math.max(this.#time, next.at)
      next.run()
    } else this.#ready.splice(choice % this.#ready.length, 1)[0]?.()
    await new Promise(resolve => setImmediate(resolve))
    return true
  }
}
