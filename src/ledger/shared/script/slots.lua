-- The slots that are out, by the time at which the API gives them back: core/slots.ts, line by line.
-- Slots that come back at the same time share an entry; beyond MAX_ENTRIES neighbours share one.

local MAX_ENTRIES = 4096

local function slotsFrom(packed)
  return { times = packed.times, counts = packed.counts, head = 1, size = packed.size, dirty = false }
end

local function slotsEmpty()
  return { times = {}, counts = {}, head = 1, size = 0, dirty = true }
end

local function slotsFirst(slots)
  return slots.times[slots.head]
end

local function slotsDropFirst(slots)
  local count = slots.counts[slots.head]
  slots.head = slots.head + 1
  slots.size = slots.size - count
  slots.dirty = true
  return count
end

local function slotsAdd(slots, at, span, count)
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

-- Takes out every slot that came back at or before `time`; says how many.
local function slotsTakeUntil(slots, time)
  local taken = 0
  while slotsFirst(slots) and slotsFirst(slots) <= time do taken = taken + slotsDropFirst(slots) end
  return taken
end

-- Keeps at most `count` slots: the earliest go, the API has them back already.
local function slotsKeepLast(slots, count)
  while slots.size > count and slotsFirst(slots) do
    local first, excess = slots.counts[slots.head], slots.size - count
    if first > excess then
      slots.counts[slots.head] = first - excess
      slots.size = count
      slots.dirty = true
    else
      slotsDropFirst(slots)
    end
  end
end

local function slotsCountBefore(slots, time)
  local count = 0
  for i = slots.head, #slots.times do
    if slots.times[i] >= time then break end
    count = count + slots.counts[i]
  end
  return count
end

-- When the nth slot (from 0) comes back; nil when fewer are out.
local function slotsNth(slots, n)
  local left = n
  for i = slots.head, #slots.times do
    left = left - slots.counts[i]
    if left < 0 then return slots.times[i] end
  end
  return nil
end

local function slotsClear(slots)
  slots.times, slots.counts, slots.head, slots.size, slots.dirty = {}, {}, 1, 0, true
end

local function slotsPack(slots)
  local times, counts = {}, {}
  for i = slots.head, #slots.times do
    times[#times + 1], counts[#counts + 1] = slots.times[i], slots.counts[i]
  end
  return cmsgpack.pack({ times = times, counts = counts, size = slots.size })
end
