/** What Redis does in one step. Each script has one key, so that a Cluster takes it too. */

const NOW = `local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)`

export const SCRIPTS = {
  /**
   * Renews a member of the living. ARGV: member, life, 1 when it is new, members to remove. Answers the living, those that
   * lapsed within a life, and its clock; or nothing when the member had lapsed: it is then not renewed, as others may have taken
   * it for gone.
   */
  imRenew: {
    lua: `${NOW}
local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] ~= '1' and (not till or tonumber(till) < now) then return false end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (now - ARGV[2]))
local living = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
return {living, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now), now}`,
  },
  imLiving: {
    lua: `${NOW} return redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')`,
  },
} as const
