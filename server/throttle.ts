/** Counts attempts in memory, a bounded number of keys, and refuses more of them for a while. */
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import type { Throttle, ThrottleKey } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'

type Kind = 'account' | 'guesses' | 'entrance'
/** Attempts in so many seconds. */
const LIMITS: Record<Kind, { points: number; duration: number }> = {
  account: { points: 10, duration: 600 },
  guesses: { points: 100, duration: 600 },
  entrance: { points: 120, duration: 60 },
}

export function throttle(): Throttle {
  const limiters = Object.fromEntries(
    Object.entries(LIMITS).map(([kind, limit]) => [kind, new RateLimiterMemory({ ...limit, keyPrefix: kind })]),
  ) as Record<Kind, RateLimiterMemory>
  const limiterOf = (key: ThrottleKey) => limiters[key.slice(0, key.indexOf(':')) as Kind]
  const each = (
    keys: readonly ThrottleKey[],
    work: (limiter: RateLimiterMemory, key: ThrottleKey) => Promise<unknown>,
  ) => Promise.all(keys.map(key => work(limiterOf(key), key)))

  return {
    async take(...keys) {
      const taken: ThrottleKey[] = []
      for (const key of keys) {
        try {
          await limiterOf(key).consume(key)
          taken.push(key)
        } catch (thrown) {
          // A refused attempt does not count, so that the time to wait does not grow with it.
          await each([...taken, key], (limiter, one) => limiter.reward(one))
          throw new Fault('too-many-requests', { retryAfterMs: (thrown as RateLimiterRes).msBeforeNext })
        }
      }
    },
    async giveBack(...keys) {
      await each(keys, (limiter, key) => limiter.reward(key))
    },
    async forget(...keys) {
      await each(keys, (limiter, key) => limiter.delete(key))
    },
  }
}

/** For benchmarks: nobody is refused. */
export const noThrottle: Throttle = { take: async () => {}, giveBack: async () => {}, forget: async () => {} }
