/** Counts of attempts that all nodes share; while Redis is away each node counts by itself. */
import { type RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible'
import type { Client } from './commands.ts'

/** As the library counts, but what is taken back never leaves less than none: that would be a credit for whoever is next. */
const COUNT = `local change = tonumber(ARGV[1])
if change < 0 and tonumber(redis.call('get', KEYS[1]) or '0') + change < 0 then
  return {0, math.max(0, redis.call('pttl', KEYS[1]))}
end
redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
return {redis.call('incrby', KEYS[1], ARGV[1]), redis.call('pttl', KEYS[1])}`

export interface Limit {
  /** Attempts in so many seconds, from the first of them. */
  points: number
  duration: number
}

export type Counters = (kind: string, limit: Limit, whileAway: RateLimiterMemory) => RateLimiterRedis

export const redisCounters =
  (client: Client, prefix: string): Counters =>
  (kind, { points, duration }, whileAway) =>
    new RateLimiterRedis({
      storeClient: client,
      keyPrefix: `${prefix}t:${kind}`,
      points,
      duration,
      insuranceLimiter: whileAway,
      rejectIfRedisNotReady: true,
      customIncrTtlLuaScript: COUNT,
    })
