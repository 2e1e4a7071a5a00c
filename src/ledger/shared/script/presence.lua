-- presence: announces a replica, counts the replicas that were announced lately, and agrees on the
-- key of the bucket names. It is a script of its own.
--
-- KEYS[1]: sorted set, replicas by the time of their last announcement.
-- KEYS[2]: string, the key of the bucket names: the proposal of the first replica.
-- ARGV[1]: the replica.
-- ARGV[2]: the key that it proposes; empty when its settings have one.
-- Returns: { number of replicas, the agreed key or '' }.

local UNHEARD_MS = 10000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - UNHEARD_MS)
-- If the server's clock went back, replicas that have ended may have an entry in the future.
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + UNHEARD_MS, '+inf')
redis.call('PEXPIRE', KEYS[1], 6 * UNHEARD_MS)
local agreed = ''
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'NX')
  agreed = redis.call('GET', KEYS[2])
end
return { redis.call('ZCARD', KEYS[1]), agreed }
