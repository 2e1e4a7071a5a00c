-- begin: decides whether this step may run, and reads or creates the state that it runs on.
--
-- Reads: ARGV[1], key.state.
-- Returns: nothing, or from the whole script with a status other than 'ok' (see step.lua).
-- Defines: the locals below.

-- The layout of what is stored. A version that stores it differently has a higher number.
local LAYOUT = 8
-- Grants of one step; each new ticket in the batch takes away a third of one.
local MAX_GRANTED = 128

local batch = cjson.decode(ARGV[1])
local me = batch.replica
-- The record of this replica; false when there is none.
local mine
local revision, state
-- Whether the state has the lineage that the replica saw last, and whether it is rebuilt.
local sameLineage, rebuilt
-- The time of this step; it never goes back.
local now
-- Whether a replica holds prefetched leases, or requests some.
local prefetches
-- Parts of the state: the records of the model and of the queue.
local bucket, queue

-- Applies a limit from the configuration: { limit, period, isOwn }.
local function believe(belief)
  if bucket.limit == belief[1] and bucket.configuredPeriodMs == belief[2] then return end
  Model.setConfiguredLimit(bucket, { limit = belief[1], periodMs = belief[2], isOwn = belief[3] })
end

-- The record of the state. It has the clock of its steps, the lineage, when its keys end, how many leases
-- are in flight, whether there may be offers, and the records that the files after this describe.
local function unpackState(packed)
  local clock, clockShift, lineage, livesUntil, leases, mayHaveOffers, virtualTime, size, extra, order,
    idle, stocks, isKept, sole, owners, uses, recordedAt, shares = cmsgpack.unpack(packed)
  return {
    clock = clock, clockShift = clockShift, lineage = lineage, livesUntil = livesUntil, leases = leases,
    mayHaveOffers = mayHaveOffers, stocks = stocks, isKept = isKept, sole = sole,
    owners = owners, uses = uses, recordedAt = recordedAt, shares = shares,
    queue = {
      virtualTime = virtualTime, size = size, extra = extra, order = order, idle = idle, isChanged = false,
    },
  }
end

local function packState()
  return cmsgpack.pack(state.clock, state.clockShift, state.lineage, state.livesUntil, state.leases,
    state.mayHaveOffers, queue.virtualTime, queue.size, queue.extra, queue.order, queue.idle,
    state.stocks, state.isKept, state.sole, state.owners, state.uses, state.recordedAt,
    state.shares)
end

do
  -- The leases that the batch is about, unless they are prefetched and the state lacks them.
  local ids = {}
  for _, held in ipairs(batch.held) do ids[#ids + 1] = held[1] end
  for _, settled in ipairs(batch.settled) do
    if not settled[8] or batch.declares then ids[#ids + 1] = settled[1] end
  end
  local fields = { 'layout', 'revision', 'state', 'bucket', 'slots', Replicas.fieldOf(me) }
  -- Further ones are read one by one.
  for i = 1, math.min(#ids, 500) do fields[6 + i] = Leases.fieldOf(ids[i]) end
  local read = redis.call('HMGET', key.state, unpack(fields))
  local layout, packedRevision, packedState, packedBucket, packedSlots, packedReplica = unpack(read, 1, 6)
  if layout and tonumber(layout) ~= LAYOUT then
    return cjson.encode({ status = 'layout', found = tonumber(layout) or 0 })
  end
  for i = 7, #fields do Leases.read(ids[i - 6], read[i]) end
  revision = tonumber(packedRevision or 0)
  state = packedState and unpackState(packedState)

  -- A step runs at most once, and only on the state that the replica knows.
  mine = Replicas.read(me, packedReplica)
  if mine and (batch.epoch < mine.epoch
      or (batch.epoch == mine.epoch and batch.sequence <= mine.sequence)) then
    return cjson.encode({ status = 'stale' })
  end
  sameLineage = state and state.lineage == batch.lineage
  local rolledBack = sameLineage and batch.revision > revision
  if not batch.declares and (not mine or mine.epoch ~= batch.epoch or mine.dropped
      or not sameLineage or rolledBack) then
    return cjson.encode({ status = 'declare' })
  end

  -- If the server's clock goes back, the step's clock stands still, by an offset that stays.
  now = serverTime()
  if state then
    now = now + state.clockShift
    if now < state.clock then
      state.clockShift = state.clockShift + state.clock - now
      now = state.clock
    end
  end

  rebuilt = rolledBack or not state
  if not state then
    state = {
      clockShift = 0, livesUntil = 0, leases = 0, mayHaveOffers = true, stocks = {}, isKept = false,
      queue = { virtualTime = 0, size = 0, extra = 0, order = 0, idle = 0, isChanged = false },
    }
  end
  if rebuilt then state.lineage = me .. ':' .. batch.epoch end
  state.clock, state.isNew = now, not layout
  queue = setmetatable(state.queue, { __index = StoredQueue })
  if packedBucket then
    bucket = Model.unpackBucket(packedBucket)
  else
    bucket = Model.makeBucket(now)
    if batch.belief then believe(batch.belief) end
  end
  bucket.slots = StoredSlots.load(packedSlots, not rebuilt)
  Leases.load(not rebuilt and state.leases or nil)
  bucket.inFlight = Leases.stored.count
  -- Keys can be evicted one by one.
  if not packedBucket or bucket.inFlight == 0 then bucket.extraInFlight = Leases.extra() end
  for _, entry in pairs(state.stocks) do bucket.inFlight = bucket.inFlight + entry.count end
  prefetches = next(state.stocks) ~= nil or batch.stock > 0 or batch.wants > 0
end

-- Removes a lease of the state, in flight or expired.
local function endLease(id, lease)
  local wasCounted = Leases.remove(id, lease)
  if lease.expired then return end
  Model.endLease(bucket, lease)
  if not wasCounted then Model.addLease(bucket, lease.cost) end
end
