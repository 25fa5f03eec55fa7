/**
 * Counts attempts, and refuses more of them for a while: in the memory of this process, of a bounded number of keys, or
 * where all nodes count together.
 */
import { type RateLimiterAbstract, RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import type { Throttle, ThrottleKey } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'

type Kind = 'account' | 'guesses' | 'entrance'
interface Limit {
  points: number
  duration: number
}
/** Attempts in so many seconds, from the first of them. */
const LIMITS: Record<Kind, Limit> = {
  account: { points: 10, duration: 600 },
  guesses: { points: 100, duration: 600 },
  entrance: { points: 120, duration: 60 },
}
/** Makes the limiter of a kind that all nodes share; `whileAway` counts when they cannot. */
type Shared = (kind: Kind, limit: Limit, whileAway: RateLimiterMemory) => RateLimiterAbstract
/** Keys of each kind. Of more, those whose latest attempt is oldest are forgotten. */
const MAX_COUNTED = 100_000

export function throttle(maxCounted = MAX_COUNTED, shared?: Shared): Throttle {
  const counter = (kind: Kind) => {
    const inMemory = new Bounded(LIMITS[kind], maxCounted)
    return new Counter(LIMITS[kind].points, shared?.(kind, LIMITS[kind], inMemory) ?? inMemory)
  }
  const counters = { account: counter('account'), guesses: counter('guesses'), entrance: counter('entrance') }
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

/** In memory, of the keys whose latest attempts are the latest. */
class Bounded extends RateLimiterMemory {
  readonly #maxCounted: number
  // In the order of their latest attempt.
  readonly #counted = new Set<string>()

  constructor(limit: Limit, maxCounted: number) {
    super(limit)
    this.#maxCounted = maxCounted
  }

  override penalty(key: string, points?: number): Promise<RateLimiterRes> {
    this.#counted.delete(key)
    this.#counted.add(key)
    const [oldest] = this.#counted
    if (this.#counted.size > this.#maxCounted && oldest !== undefined) void this.delete(oldest)
    return super.penalty(key, points)
  }

  override async reward(key: string, points = 1): Promise<RateLimiterRes> {
    const state = await super.reward(key, points)
    // Given back more often at once than was taken: undone, each by itself.
    return state.consumedPoints < 0 ? await super.penalty(key, points) : state
  }

  override delete(key: string): Promise<boolean> {
    this.#counted.delete(key)
    return super.delete(key)
  }
}

class Counter {
  readonly #points: number
  readonly #limiter: RateLimiterAbstract

  constructor(points: number, limiter: RateLimiterAbstract) {
    this.#points = points
    this.#limiter = limiter
  }

  /** How long to wait, in milliseconds; 0: taken. */
  async take(key: string): Promise<number> {
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
    await this.#limiter.delete(key)
  }
}

/** For benchmarks: nobody is refused. */
export const noThrottle: Throttle = { take: async () => {}, giveBack: async () => {}, forget: async () => {} }
