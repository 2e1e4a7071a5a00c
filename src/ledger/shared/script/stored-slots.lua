-- stored-slots: the bucket's slots in Redis. A step reads only the chunks that it touches.
--
-- Stored: the record Slots of the model in the field `slots` of the state, packed as size, lastAt, head,
--   made, ids, firsts, totals, times, counts. `ids` are the numbers of the chunks; `times` and `counts`
--   are those of the last chunk, which most steps change. Each other chunk is packed as times, counts
--   in a field of its own.
-- Reads and writes: key.state.
-- Returns: the table StoredSlots.

-- What is stored, and the number of its first chunk; nil when nothing is.
local stored, firstStored

local function fieldOf(id)
  return 'slots:' .. id
end

local function read(id)
  local times, counts = cmsgpack.unpack(redis.call('HGET', key.state, fieldOf(id)))
  return { id = id, times = times, counts = counts, isChanged = false }
end

-- Makes slots of what is stored. Unless it `keeps` that, they are empty.
local function load(packed, keeps)
  if not packed then return Model.makeSlots() end
  local size, lastAt, head, made, chunks, firsts, totals, times, counts = cmsgpack.unpack(packed)
  stored, firstStored = packed, chunks[1]
  local last = #chunks
  if last > 0 then
    chunks[last] = { id = chunks[last], times = times, counts = counts, isChanged = true }
  end
  local slots = {
    size = size, lastAt = lastAt, head = head, made = made, chunks = chunks, firsts = firsts,
    totals = totals, isChanged = false, read = read,
  }
  if not keeps then Model.clearSlots(slots) end
  return slots
end

-- Removes the fields of the chunks that no longer exist, if there are any. The first chunk is always
-- the first to be removed.
local function removeDropped(ids)
  if firstStored == nil or firstStored == ids[1] then return end
  local kept = {}
  for _, id in ipairs(ids) do kept[id] = true end
  local _, _, _, _, storedIds = cmsgpack.unpack(stored)
  for _, id in ipairs(storedIds) do
    if not kept[id] then redis.call('HDEL', key.state, fieldOf(id)) end
  end
end

-- Writes the chunks that changed. Returns what the field `slots` is to be, or nil if that is unchanged.
-- The slots cannot be used after it.
local function save(slots)
  if not slots.isChanged then return nil end
  local chunks, count = slots.chunks, #slots.chunks
  local last = chunks[count]
  for i = 1, count do
    local chunk = chunks[i]
    if type(chunk) ~= 'number' then
      if chunk.isChanged and i < count then
        redis.call('HSET', key.state, fieldOf(chunk.id), cmsgpack.pack(chunk.times, chunk.counts))
      end
      chunks[i] = chunk.id
    end
  end
  removeDropped(chunks)
  return cmsgpack.pack(slots.size, slots.lastAt, slots.head, slots.made, chunks, slots.firsts,
    slots.totals, last and last.times or {}, last and last.counts or {})
end

return { load = load, save = save }
