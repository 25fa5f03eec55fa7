/** Counts attempts in the memory of this process, of a bounded number of keys, and refuses more of them for a while. */
import { RateLimiterMemory } from 'rate-limiter-flexible'
import type { Throttle, ThrottleKey } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'

type Kind = 'account' | 'guesses' | 'entrance'
/** Attempts in so many seconds, from the first of them. */
const LIMITS: Record<Kind, { points: number; duration: number }> = {
  account: { points: 10, duration: 600 },
  guesses: { points: 100, duration: 600 },
  entrance: { points: 120, duration: 60 },
}
/** Keys of each kind. Of more, those whose latest attempt is oldest are forgotten. */
const MAX_COUNTED = 100_000

export function throttle(maxCounted = MAX_COUNTED): Throttle {
  const counters: Record<Kind, Counter> = {
    account: new Counter(LIMITS.account, maxCounted),
    guesses: new Counter(LIMITS.guesses, maxCounted),
    entrance: new Counter(LIMITS.entrance, maxCounted),
  }
  const counterOf = (key: ThrottleKey) => counters[key.slice(0, key.indexOf(':')) as Kind]

  return {
    async take(...keys) {
      // All are begun before any is awaited, so that no other attempt comes between.
      const waits = await Promise.all(keys.map(key => counterOf(key).take(key)))
      const retryAfterMs = Math.max(0, ...waits)
      if (retryAfterMs === 0) return
      await Promise.all(keys.map((key, i) => waits[i] === 0 && counterOf(key).giveBack(key)))
      throw new Fault('too-many-requests', { retryAfterMs })
    },
    async giveBack(...keys) {
      await Promise.all(keys.map(key => counterOf(key).giveBack(key)))
    },
    async forget(...keys) {
      await Promise.all(keys.map(key => counterOf(key).forget(key)))
    },
  }
}

class Counter {
  readonly #limiter: RateLimiterMemory
  readonly #points: number
  readonly #maxCounted: number
  // In the order of their latest attempt.
  readonly #counted = new Set<string>()

  constructor(limit: { points: number; duration: number }, maxCounted: number) {
    this.#limiter = new RateLimiterMemory(limit)
    this.#points = limit.points
    this.#maxCounted = maxCounted
  }

  /** How long to wait, in milliseconds; 0: taken. */
  async take(key: string): Promise<number> {
    this.#counted.delete(key)
    this.#counted.add(key)
    if (this.#counted.size > this.#maxCounted) {
      const [oldest] = this.#counted
      if (oldest !== undefined) await this.forget(oldest)
    }
    const state = await this.#limiter.penalty(key)
    if (state.consumedPoints <= this.#points) return 0
    // A refused attempt does not count.
    await this.giveBack(key)
    return Math.max(1, state.msBeforeNext)
  }

  async giveBack(key: string): Promise<void> {
    const state = await this.#limiter.get(key)
    // What was forgotten, or whose window has ended, has nothing left to give back: less than none would be a credit.
    if (state && state.msBeforeNext > 0 && state.consumedPoints > 0) await this.#limiter.reward(key)
  }

  async forget(key: string): Promise<void> {
    this.#counted.delete(key)
    await this.#limiter.delete(key)
  }
}

/** For benchmarks: nobody is refused. */
export const noThrottle: Throttle = { take: async () => {}, giveBack: async () => {}, forget: async () => {} }
