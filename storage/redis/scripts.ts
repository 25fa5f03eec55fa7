/** What Redis does in one step. Each script has one key, so that a Cluster takes it too. */

const NOW = `local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)`
const isOutranked = `local held = redis.call('HGET', KEYS[1], '')
if held and tonumber(held) > tonumber(ARGV[1]) then return 0 end`

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
  /** Sets fields unless a higher rank owns the hash; a lower owner's go. ARGV: rank, life, then field and value in turn. */
  imMerge: {
    lua: `${isOutranked}
if held and tonumber(held) < tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], '', ARGV[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`,
  },
  /** Removes all fields unless a higher rank owns them, and remembers the rank. ARGV: rank, life. */
  imDrop: {
    lua: `${isOutranked}
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`,
  },
} as const
