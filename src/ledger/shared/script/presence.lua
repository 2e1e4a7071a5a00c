-- presence: says that a replica is there, hears how many are, and agrees on the key of names.
--
-- KEYS[1] sorted set: replicas by when they were heard of
-- KEYS[2] string: the key of the bucket names, the first replica's choice
-- ARGV[1] the replica
-- ARGV[2] the key that it would choose; empty when it has one from its settings
--
-- Output: { how many replicas were heard of lately, the agreed key or '' }

local UNHEARD_MS = 10000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - UNHEARD_MS)
-- A clock that went back must not keep the dead among us for as long as it went back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + UNHEARD_MS, '+inf')
redis.call('PEXPIRE', KEYS[1], 6 * UNHEARD_MS)
local agreed = ''
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'NX')
  agreed = redis.call('GET', KEYS[2])
end
return { redis.call('ZCARD', KEYS[1]), agreed }
