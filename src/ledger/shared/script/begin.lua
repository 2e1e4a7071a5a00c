-- begin: decides whether this step may run, and reads or creates the state that it runs on.
--
-- Reads: ARGV[1], key.state, the record of the replica that steps.
-- Returns: nothing, or from the whole script with a status other than 'ok' (see step.lua).
-- Defines: the locals below.

-- The layout of what is stored. A version that stores it differently has a higher number.
local LAYOUT = 3
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
-- Parts of the state: records of bucket.lua, queue.lua and slots.lua.
local bucket, queue, slots

do
  local layout, packedRevision, packedBucket, packedSlots =
    unpack(redis.call('HMGET', key.state, 'layout', 'revision', 'bucket', 'slots'))
  if layout and tonumber(layout) ~= LAYOUT then
    return cjson.encode({ status = 'layout', found = tonumber(layout) or 0 })
  end
  revision = tonumber(packedRevision or 0)
  state = packedBucket and cmsgpack.unpack(packedBucket)

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
      bucket = Bucket.new(now, batch.belief),
      queue = { virtualTime = 0, size = 0, order = 0 },
      stocks = {},
    }
  end
  if rebuilt then state.lineage = me .. ':' .. batch.epoch end
  state.clock = now
  bucket, queue = state.bucket, state.queue
  slots = packedSlots and not rebuilt and Slots.from(cmsgpack.unpack(packedSlots)) or Slots.empty()
end
