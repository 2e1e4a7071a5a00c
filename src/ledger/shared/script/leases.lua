-- leases: grants that have no answer yet.
--
-- A lease for another replica than the one that steps is an offer, until that replica confirms it.
--
-- Record: a lease of the model, with `replica`, `expired` when it counts as spent, and `ticket` while
--   it is an offer.
-- Reads and writes: key.leases, key.held, key.offers, key.expired.
-- Returns: the table Leases.

local OFFER_MS = 2000
-- Expired leases that are kept for a late answer.
local MAX_EXPIRED_KEPT = 1024

-- How many are in flight, without those that replicas hold ahead of their calls (prefetch.lua).
local stored = { count = redis.call('ZCARD', key.leases) }
-- The oldest lease as Redis returned it; false when it must be read again.
local oldestRead = false

-- The id of the oldest lease and the time of its grant; nil when none is in flight.
local function oldest()
  if stored.count == 0 then return nil end
  if not oldestRead then oldestRead = redis.call('ZRANGE', key.leases, 0, 0, 'WITHSCORES') end
  return oldestRead[1], tonumber(oldestRead[2])
end

local function add(id, lease)
  fresh.leases, fresh.held = true, true
  stored.count = stored.count + redis.call('ZADD', key.leases, exact(lease.grantedAt), id)
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
  oldestRead = false
end

-- Keeps a lease that has expired, since a late answer is judged by it.
local function expire(id, lease, now)
  lease.expired, lease.ticket = true, nil
  fresh.held, fresh.expired = true, true
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
  redis.call('ZADD', key.expired, exact(now), id)
  if redis.call('ZCARD', key.expired) > MAX_EXPIRED_KEPT then
    redis.call('HDEL', key.held, redis.call('ZPOPMIN', key.expired)[1])
  end
end

local function find(id)
  local packed = redis.call('HGET', key.held, id)
  return packed and cmsgpack.unpack(packed) or nil
end

local function offerMember(lease, id)
  return lease.replica .. '\0' .. id
end

-- How many operations the leases in flight spend beyond one each.
local function extra()
  if stored.count == 0 then return 0 end
  local all, operations = redis.call('HGETALL', key.held), 0
  for i = 2, #all, 2 do
    local lease = cmsgpack.unpack(all[i])
    if not lease.expired then operations = operations + lease.cost - 1 end
  end
  return operations
end

-- Removes a lease, in flight or expired. Returns whether it was counted in flight.
local function remove(id, lease)
  redis.call('HDEL', key.held, id)
  local removed = redis.call('ZREM', key.leases, id)
  stored.count = stored.count - removed
  if lease.ticket then redis.call('ZREM', key.offers, offerMember(lease, id)) end
  if lease.expired then redis.call('ZREM', key.expired, id) end
  oldestRead = false
  return removed > 0
end

-- Removes a lease in flight of which nothing else is stored.
local function forget(id)
  stored.count = stored.count - redis.call('ZREM', key.leases, id)
  oldestRead = false
end

-- Makes a lease an offer. It keeps its ticket, which queues again if the offer ends.
local function offer(id, lease, ticket, now)
  lease.ticket = ticket
  fresh.offers = true
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
  redis.call('ZADD', key.offers, exact(now + OFFER_MS), offerMember(lease, id))
end

-- Ends the offer: its replica has the lease.
local function confirm(id, lease)
  if not lease.ticket then return end
  redis.call('ZREM', key.offers, offerMember(lease, id))
  lease.ticket = nil
  redis.call('HSET', key.held, id, cmsgpack.pack(lease))
end

return {
  stored = stored, oldest = oldest, add = add, expire = expire, find = find, extra = extra,
  remove = remove, forget = forget, offer = offer, confirm = confirm,
}
