-- owners: which owners used the bucket lately, and how much of it (src/queue/recent-owners.ts).
--
-- Most steps change one or two owners and need no other, so all owners are in two strings, of which a
-- change replaces a part.
--
-- Record: while one owner alone used the bucket, state.sole = { name, seenAt, waiting }; then
--   state.owners, the names: for each '\1', the name, '\2', and a byte for its place; and
--   state.uses, the numbers seenAt, used and waiting of each place, as doubles.
--   state.recordedAt is when a grant was recorded last.
-- Reads and writes: the record.
-- Returns: the table Owners.

-- How many grants of a period are recorded at least while much is left.
local SAMPLES_PER_PERIOD = 100
-- The bytes of three doubles, how they are packed, and the byte of the first place.
local SIZE, NUMBERS, FIRST_PLACE = 24, '<ddd', 128

-- Returns a place for a further owner; that of the one that was seen least recently if there are too many.
local function freePlace()
  local uses = state.uses
  local count, oldest, oldestAt = #uses / SIZE, 0, math.huge
  if count < RecentOwners.MAX_OWNERS then return count end
  for place = 0, count - 1 do
    local seenAt = struct.unpack('<d', uses, SIZE * place + 1)
    if seenAt < oldestAt then oldest, oldestAt = place, seenAt end
  end
  local from, to = string.find(state.owners, '\1[^\1]*\2' .. string.char(FIRST_PLACE + oldest))
  state.owners = string.sub(state.owners, 1, from - 1) .. string.sub(state.owners, to + 1)
  return oldest
end

-- The place of an owner and its numbers; nil when it is not known. state.owners must be there.
local function find(name)
  local _, last = string.find(state.owners, '\1' .. name .. '\2', 1, true)
  if not last then return nil end
  local place = string.byte(state.owners, last + 1) - FIRST_PLACE
  return place, struct.unpack(NUMBERS, state.uses, SIZE * place + 1)
end

-- Records of an owner that is not the only one what it used now, and what its queued tickets will use. `use`
-- is nil when it made no request. An owner that is not known is added, unless it made none.
local function record(name, use, queued)
  local sole = state.sole
  if not state.owners then
    if not sole then
      if use then state.sole = { name, now, queued } end
      return
    elseif not use then
      return
    end
    state.owners = '\1' .. sole[1] .. '\2' .. string.char(FIRST_PLACE)
    state.uses, state.sole = struct.pack(NUMBERS, sole[2], 0, sole[3]), nil
  end
  local place, seenAt, used, waiting = find(name)
  if not place then
    -- An owner may be forgotten while it has tickets in the queue, and keys can be evicted one by one.
    if not use then return end
    place, seenAt, used, waiting = freePlace(), now, 0, 0
    state.owners = state.owners .. '\1' .. name .. '\2' .. string.char(FIRST_PLACE + place)
  end
  if use then
    used, seenAt = FairQueue.fadedUse(seenAt, used, Model.periodMs(bucket), now) + use, now
  end
  local uses, from = state.uses, SIZE * place
  state.uses = string.sub(uses, 1, from) .. struct.pack(NUMBERS, seenAt, used, math.max(0, waiting + queued))
    .. string.sub(uses, from + SIZE + 1)
end

-- A ticket was granted, whose owner is not the only one.
local function granted(ticket)
  if state.owners then
    -- While much is left, some of the grants show who uses the bucket.
    local every = (Model.periodMs(bucket) or math.huge) / SAMPLES_PER_PERIOD
    local most = Model.maxKept(bucket, batch.spread or Model.DEFAULT_SPREAD)
    if now - (state.recordedAt or -math.huge) < every and Model.available(bucket) >= 2 * most then return end
    state.recordedAt = now
  end
  record(ticket.owner, FairQueue.useOf(ticket), 0)
end

return { find = find, record = record, granted = granted }
