-- slots: spent operations of a bucket, by the time at which the API returns them, earliest first.
--
-- The Lua form of budget/slots.ts, with the same arithmetic. Slots with the same return time share
-- an entry. Beyond MAX_ENTRIES, neighbours share the later of their times.
--
-- Record: { times, counts, head, size, dirty }. Two parallel lists that begin at `head`, the number
--   of slots, and whether they differ from what is stored.
-- Stored: { times, counts, size }, packed, in the field `slots` of the state.
-- Reads and writes: the record that is passed to each function; no function calls Redis.
-- Returns: the table Slots.

local MAX_ENTRIES = 4096

local function from(stored)
  local times, counts = stored.times, stored.counts
  return { times = times, counts = counts, head = 1, size = stored.size, dirty = false }
end

local function empty()
  return { times = {}, counts = {}, head = 1, size = 0, dirty = true }
end

-- The return time of the earliest slot; nil when there is none.
local function first(slots)
  return slots.times[slots.head]
end

local function dropFirst(slots)
  local count = slots.counts[slots.head]
  slots.head = slots.head + 1
  slots.size = slots.size - count
  slots.dirty = true
  return count
end

-- Adds `count` slots that return at `at`. `span` is how far ahead return times can lie, in ms.
local function add(slots, at, span, count)
  local times, counts = slots.times, slots.counts
  local grain = span / (MAX_ENTRIES / 2)
  local time = at
  if #times - slots.head + 1 >= MAX_ENTRIES / 2 and grain > 0 then
    time = math.ceil(at / grain) * grain
  end
  local place = #times
  while place >= slots.head and times[place] > time do place = place - 1 end
  slots.size = slots.size + count
  slots.dirty = true
  if place >= slots.head and times[place] == time then
    counts[place] = counts[place] + count
  else
    table.insert(times, place + 1, time)
    table.insert(counts, place + 1, count)
  end
  if #times - slots.head + 1 > MAX_ENTRIES then
    -- The two earliest share the later one's time: late is safe, early is not.
    counts[slots.head + 1] = counts[slots.head + 1] + counts[slots.head]
    slots.head = slots.head + 1
  end
end

-- Removes every slot that returned at or before `time`; returns their number.
local function takeUntil(slots, time)
  local taken = 0
  while first(slots) and first(slots) <= time do taken = taken + dropFirst(slots) end
  return taken
end

-- Keeps at most `count` slots. It removes the earliest, which the API has returned already.
local function keepLast(slots, count)
  while slots.size > count and first(slots) do
    local atFirst, excess = slots.counts[slots.head], slots.size - count
    if atFirst > excess then
      slots.counts[slots.head] = atFirst - excess
      slots.size = count
      slots.dirty = true
    else
      dropFirst(slots)
    end
  end
end

-- The number of slots that return before `time`.
local function countBefore(slots, time)
  local count = 0
  for i = slots.head, #slots.times do
    if slots.times[i] >= time then break end
    count = count + slots.counts[i]
  end
  return count
end

-- The return time of the nth slot (from 0); nil when there are fewer.
local function nth(slots, n)
  local left = n
  for i = slots.head, #slots.times do
    left = left - slots.counts[i]
    if left < 0 then return slots.times[i] end
  end
  return nil
end

local function clear(slots)
  slots.times, slots.counts, slots.head, slots.size, slots.dirty = {}, {}, 1, 0, true
end

local function pack(slots)
  local times, counts = {}, {}
  for i = slots.head, #slots.times do
    times[#times + 1], counts[#counts + 1] = slots.times[i], slots.counts[i]
  end
  return cmsgpack.pack({ times = times, counts = counts, size = slots.size })
end

return {
  from = from, empty = empty, first = first, add = add, takeUntil = takeUntil, keepLast = keepLast,
  countBefore = countBefore, nth = nth, clear = clear, pack = pack,
}
