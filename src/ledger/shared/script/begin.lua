-- begin: decides whether this step may run, and reads or creates the state that it runs on.
--
-- Reads: ARGV[1], key.state, the record of the replica that steps.
-- Returns: nothing, or from the whole script with a status other than 'ok' (see step.lua).
-- Defines: the locals below.

-- The layout of what is stored. A version that stores it differently has a higher number.
local LAYOUT = 7
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
-- Parts of the state: the records of the model and of the queue.
local bucket, queue

-- Applies a limit from the configuration: { limit, period, isOwn }.
local function believe(belief)
  if bucket.limit == belief[1] and bucket.configuredPeriodMs == belief[2] then return end
  Model.setConfiguredLimit(bucket, { limit = belief[1], periodMs = belief[2], isOwn = belief[3] })
end

do
  local layout, packedRevision, packedState, packedBucket, packedSlots =
    unpack(redis.call('HMGET', key.state, 'layout', 'revision', 'state', 'bucket', 'slots'))
  if layout and tonumber(layout) ~= LAYOUT then
    return cjson.encode({ status = 'layout', found = tonumber(layout) or 0 })
  end
  revision = tonumber(packedRevision or 0)
  state = packedState and cmsgpack.unpack(packedState)

  -- A step runs at most once, and only on the state that the replica knows.
  mine = Replicas.find(me)
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
      clockShift = 0,
      queue = { virtualTime = 0, size = 0, extra = 0, order = 0 },
      stocks = {},
    }
  end
  if rebuilt then state.lineage = me .. ':' .. batch.epoch end
  state.clock = now
  state.queue.extra = state.queue.extra or 0
  -- Its methods are made when the first is called.
  queue = setmetatable(state.queue, getmetatable(StoredQueue))
  if packedBucket then
    bucket = Model.unpackBucket(packedBucket)
  else
    bucket = Model.makeBucket(now)
    if batch.belief then believe(batch.belief) end
  end
  bucket.slots = StoredSlots.load(packedSlots, not rebuilt)
  bucket.inFlight = Leases.stored.count
  -- Keys can be evicted one by one.
  if not packedBucket or bucket.inFlight == 0 then bucket.extraInFlight = Leases.extra() end
end

-- Removes a lease of the state, in flight or expired.
local function endLease(id, lease)
  local wasCounted = Leases.remove(id, lease)
  if lease.expired then return end
  Model.endLease(bucket, lease)
  if not wasCounted then Model.addLease(bucket, lease.cost) end
end
