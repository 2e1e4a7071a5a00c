-- Grants that are not yet answered. Two keys hold them: by age, to find the oldest, and by id.
-- A lease given to another replica than the one that steps is an offer until that replica says that
-- it took it; a third key holds the offers by the time at which they end.

local OFFER_MS = 2000
-- Expired leases whose late answer is still made sense of.
local MAX_EXPIRED_KEPT = 1024

-- How many are out, and how many of them replicas hold ahead of their calls (stock.lua).
local leaseCount, stocked = redis.call('ZCARD', key.leases), 0
local oldestLease = false

-- The oldest lease's id and the time at which it was granted; nil when none is out.
local function leaseOldest()
  if leaseCount == 0 then return nil end
  if not oldestLease then oldestLease = redis.call('ZRANGE', key.leases, 0, 0, 'WITHSCORES') end
  return oldestLease[1], tonumber(oldestLease[2])
end

local function leaseAdd(id, lease)
  fresh.leases, fresh.held = true, true
  leaseCount = leaseCount + redis.call('ZADD', key.leases, exact(lease.grantedAt), id)
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
  oldestLease = false
end

-- An expired lease is no longer out, but its answer may still come, and is then judged by it.
local function leaseExpire(id, lease, now)
  lease.expired, lease.ticket = true, nil
  fresh.held, fresh.expired = true, true
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
  redis.call('ZADD', key.expired, exact(now), id)
  if redis.call('ZCARD', key.expired) > MAX_EXPIRED_KEPT then
    redis.call('HDEL', key.held, redis.call('ZPOPMIN', key.expired)[1])
  end
end

local function leaseFind(id)
  local packed = redis.call('HGET', key.held, id)
  return packed and cmsgpack.unpack(packed) or nil
end

local function offerMember(lease, id)
  return lease.replica .. '\0' .. id
end

local function leaseRemove(id, lease)
  redis.call('HDEL', key.held, id)
  leaseCount = leaseCount - redis.call('ZREM', key.leases, id)
  if lease.ticket then redis.call('ZREM', key.offers, offerMember(lease, id)) end
  if lease.expired then redis.call('ZREM', key.expired, id) end
  oldestLease = false
end

-- The lease keeps its ticket for as long as it is an offer, in case it has to queue again.
local function leaseOffer(id, lease, ticket, now)
  lease.ticket = ticket
  fresh.offers = true
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
  redis.call('ZADD', key.offers, exact(now + OFFER_MS), offerMember(lease, id))
end

local function leaseConfirm(id, lease)
  if not lease.ticket then return end
  redis.call('ZREM', key.offers, offerMember(lease, id))
  lease.ticket = nil
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
end
