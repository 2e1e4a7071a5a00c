-- leases: grants that have no answer yet.
--
-- A lease for another replica than the one that steps is an offer, until that replica confirms it.
--
-- Record: a lease of the model, with `replica`, `expired` when it counts as spent, and `ticket` while
--   it is an offer. It is packed as its values in a field of the state. A lease is read once, and
--   `save` writes those that changed.
-- Reads and writes: key.state, key.leases, key.offers, key.expired.
-- Returns: the table Leases.

local OFFER_MS = 2000
-- Expired leases that are kept for a late answer.
local MAX_EXPIRED_KEPT = 1024
-- The arguments of one command: a Lua function can pass some thousands.
local MAX_ARGUMENTS = 1000

-- The leases that were read or made, by id; false for one that is not there. `changed` has the ids of
-- those to write.
local records, changed = {}, {}
-- The id of the oldest lease and the time of its grant, if there is one; nil when it must be read again.
local oldestId, oldestAt
-- How many are in flight, without those that replicas hold ahead of their calls (prefetch.lua).
local stored = { count = 0 }

local function fieldOf(id)
  return 'lease:' .. id
end

-- Takes what is stored of a lease.
local function read(id, packed)
  if not packed then
    records[id] = false
    return
  end
  local kind, cost, grantedAt, observation, trusted, losses, returns, loss, recorded, replica, expired,
    ticket = cmsgpack.unpack(packed)
  records[id] = {
    kind = kind, cost = cost, grantedAt = grantedAt, observation = observation, trusted = trusted,
    losses = losses, returns = returns, loss = loss, recorded = recorded, replica = replica,
    expired = expired, ticket = ticket,
  }
end

local function find(id)
  if records[id] == nil then read(id, redis.call('HGET', key.state, fieldOf(id))) end
  return records[id] or nil
end

-- Calls `visit` with each lease and its id.
local function each(visit)
  local all = redis.call('HGETALL', key.state)
  for i = 1, #all, 2 do
    local id = string.match(all[i], '^lease:(.*)$')
    if id then
      if records[id] == nil then read(id, all[i + 1]) end
      if records[id] then visit(id, records[id]) end
    end
  end
end

local function readOldest()
  local first = redis.call('ZRANGE', key.leases, 0, 0, 'WITHSCORES')
  oldestId, oldestAt = first[1], tonumber(first[2])
end

-- Reads how many are in flight. `count` is their number by the state; nil when it does not know.
local function load(count)
  if count == 0 then return end
  readOldest()
  -- Keys can be evicted one by one.
  if oldestId then stored.count = count or redis.call('ZCARD', key.leases) end
end

-- The id of the oldest lease and the time of its grant; nil when none is in flight.
local function oldest()
  if stored.count == 0 then return nil end
  if not oldestId then readOldest() end
  return oldestId, oldestAt
end

local function add(id, lease)
  local grantedAt = lease.grantedAt
  if stored.count == 0 then
    -- The key exists while a lease is in flight.
    fresh.leases = true
    oldestId, oldestAt = id, grantedAt
  elseif oldestId and grantedAt <= oldestAt then
    oldestId = nil
  end
  stored.count = stored.count + redis.call('ZADD', key.leases, grantedAt, id)
  records[id], changed[id] = lease, true
end

-- Keeps a lease that has expired, since a late answer is judged by it.
local function expire(id, lease, now)
  lease.expired, lease.ticket = true, nil
  fresh.expired = true
  records[id], changed[id] = lease, true
  redis.call('ZADD', key.expired, now, id)
  if redis.call('ZCARD', key.expired) > MAX_EXPIRED_KEPT then
    local first = redis.call('ZPOPMIN', key.expired)[1]
    records[first], changed[first] = false, true
  end
end

local function offerMember(lease, id)
  return lease.replica .. '\0' .. id
end

-- How many operations the leases in flight spend beyond one each.
local function extra()
  if stored.count == 0 then return 0 end
  local operations = 0
  each(function(_, lease)
    if not lease.expired then operations = operations + lease.cost - 1 end
  end)
  return operations
end

-- Removes a lease, in flight or expired. Returns whether it was counted in flight.
local function remove(id, lease)
  records[id], changed[id] = false, true
  if lease.ticket then redis.call('ZREM', key.offers, offerMember(lease, id)) end
  if lease.expired then
    redis.call('ZREM', key.expired, id)
    return false
  end
  local removed = redis.call('ZREM', key.leases, id)
  stored.count = stored.count - removed
  if id == oldestId then oldestId = nil end
  return removed > 0
end

-- Removes a lease in flight of which nothing else is stored.
local function forget(id)
  stored.count = stored.count - redis.call('ZREM', key.leases, id)
  oldestId = nil
end

-- Makes a lease an offer. It keeps its ticket, which queues again if the offer ends.
local function offer(id, lease, ticket, now)
  lease.ticket = ticket
  fresh.offers = true
  redis.call('ZADD', key.offers, now + OFFER_MS, offerMember(lease, id))
end

-- Ends the offer: its replica has the lease.
local function confirm(id, lease)
  if not lease.ticket then return end
  redis.call('ZREM', key.offers, offerMember(lease, id))
  lease.ticket, changed[id] = nil, true
end

-- Removes those that ended, and writes those that changed. Returns fields and values that are to be
-- written with others.
local function save()
  local fields, ended = {}, {}
  for id in pairs(changed) do
    local lease = records[id]
    if lease then
      fields[#fields + 1] = fieldOf(id)
      fields[#fields + 1] = cmsgpack.pack(lease.kind, lease.cost, lease.grantedAt, lease.observation,
        lease.trusted, lease.losses, lease.returns, lease.loss, lease.recorded, lease.replica,
        lease.expired, lease.ticket)
      if #fields >= MAX_ARGUMENTS then
        redis.call('HSET', key.state, unpack(fields))
        fields = {}
      end
    else
      ended[#ended + 1] = fieldOf(id)
      if #ended >= MAX_ARGUMENTS then
        redis.call('HDEL', key.state, unpack(ended))
        ended = {}
      end
    end
  end
  if #ended > 0 then redis.call('HDEL', key.state, unpack(ended)) end
  return fields
end

return {
  stored = stored, fieldOf = fieldOf, read = read, load = load, oldest = oldest, add = add,
  expire = expire, find = find, each = each, extra = extra, remove = remove, forget = forget,
  offer = offer, confirm = confirm, save = save,
}
