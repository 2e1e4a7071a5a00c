-- How a step begins: whether it may run at all, and on which state. What it finds is for the files
-- after it to work on; step.lua has the contract.

-- One more with each version that keeps the state so that it and the one before cannot share it.
local LAYOUT = 3
-- Grants of one step; each ticket that comes in with it takes away a third of one.
local MAX_GRANTED = 128

local batch = cjson.decode(ARGV[1])
local me = batch.replica

local layout, packedRevision, packedBucket, packedSlots =
  unpack(redis.call('HMGET', key.state, 'layout', 'revision', 'bucket', 'slots'))
if layout and tonumber(layout) ~= LAYOUT then
  return cjson.encode({ status = 'layout', found = tonumber(layout) or 0 })
end
local revision = tonumber(packedRevision or 0)
local state = packedBucket and cmsgpack.unpack(packedBucket)

-- Replicas, read when they are needed and written at the end.
local replicas = {}
local function replicaOf(name)
  if replicas[name] == nil then
    local packed = redis.call('HGET', key.replicas, name)
    replicas[name] = packed and cmsgpack.unpack(packed) or false
  end
  return replicas[name]
end

-- At most once, and only on the state that the replica knows.
local mine = replicaOf(me)
if mine and (batch.epoch < mine.epoch
    or (batch.epoch == mine.epoch and batch.sequence <= mine.sequence)) then
  return cjson.encode({ status = 'stale' })
end
local sameLineage = state and state.lineage == batch.lineage
local wentBack = sameLineage and batch.revision > revision
if not batch.declares and (not mine or mine.epoch ~= batch.epoch or mine.dropped
    or not sameLineage or wentBack) then
  return cjson.encode({ status = 'declare' })
end

-- A clock that goes back is made to stand still, by an offset that stays.
local now = serverTime()
if state then
  now = now + state.clockShift
  if now < state.clock then
    state.clockShift = state.clockShift + state.clock - now
    now = state.clock
  end
end

local rebuilt = wentBack or not state
if not state then
  state = {
    clockShift = 0,
    bucket = bucketNew(now, batch.belief),
    queue = { virtualTime = 0, size = 0, order = 0 },
    stocks = {},
  }
end
if rebuilt then state.lineage = me .. ':' .. batch.epoch end
state.clock = now
local b, queue = state.bucket, state.queue
local slots = packedSlots and not rebuilt and slotsFrom(cmsgpack.unpack(packedSlots)) or slotsEmpty()

local granted, shed, outbox = {}, {}, {}
local grantsLeft = MAX_GRANTED - math.floor(#batch.tickets / 3)

local function messageFor(replica)
  local message = outbox[replica]
  if not message then
    message = { granted = {}, shed = {} }
    outbox[replica] = message
  end
  return message
end
