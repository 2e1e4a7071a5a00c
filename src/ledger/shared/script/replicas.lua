-- replicas: the replicas that use the bucket, and the messages of this step to them.
--
-- Record: { epoch, sequence, heardAt, free, sheds, shedsBefore, shedsAt, dropped }, packed as its values
--   in a field of the state.
--   heardAt                      the time of its last step
--   free                         its free sockets
--   sheds, shedsBefore, shedsAt  how many of its tickets were shed by others' arrival in its epoch:
--                                now, and at the time shedsAt
--   dropped                      true: some of its tickets were removed, so it must declare
-- Message: { granted, shed, recall }, published as JSON with bucket, epoch and free.
-- Reads and writes: key.state. A record is read once, and `save` writes those marked `dirty`.
-- Returns: the table Replicas.

local FORGOTTEN_MS = 600000

local records, messages = {}, {}

local function fieldOf(name)
  return 'replica:' .. name
end

local function unpacked(packed)
  local epoch, sequence, heardAt, free, sheds, shedsBefore, shedsAt, dropped = cmsgpack.unpack(packed)
  return {
    epoch = epoch, sequence = sequence, heardAt = heardAt, free = free, sheds = sheds,
    shedsBefore = shedsBefore, shedsAt = shedsAt, dropped = dropped,
  }
end

-- Takes what is stored of a replica. Returns its record; false when there is none.
local function read(name, packed)
  records[name] = packed and unpacked(packed)
  return records[name]
end

-- The record of a replica; false when there is none.
local function find(name)
  local record = records[name]
  if record == nil then return read(name, redis.call('HGET', key.state, fieldOf(name))) end
  return record
end

local function set(name, record)
  records[name] = record
end

-- Removes the replicas whose last step was long ago.
local function forget(now)
  local all = redis.call('HGETALL', key.state)
  for i = 1, #all, 2 do
    local isReplica = string.sub(all[i], 1, 8) == 'replica:'
    if isReplica and now - unpacked(all[i + 1]).heardAt > FORGOTTEN_MS then
      redis.call('HDEL', key.state, all[i])
    end
  end
end

-- The message of this step to a replica, to add to.
local function messageTo(name)
  local message = messages[name]
  if not message then
    message = { granted = {}, shed = {} }
    messages[name] = message
  end
  return message
end

-- Adds the fields of those that changed to `fields`.
local function save(fields)
  for name, record in pairs(records) do
    if record and record.dirty then
      fields[#fields + 1] = fieldOf(name)
      fields[#fields + 1] = cmsgpack.pack(record.epoch, record.sequence, record.heardAt, record.free,
        record.sheds, record.shedsBefore, record.shedsAt, record.dropped)
    end
  end
end

-- Publishes each message to its replica's channel, whose name starts with `channels`.
local function publish(channels, bucketId)
  for name, message in pairs(messages) do
    local record = find(name)
    redis.call('PUBLISH', channels .. name, cjson.encode({
      bucket = bucketId, epoch = record.epoch, free = record.free,
      granted = message.granted, shed = message.shed, recall = message.recall,
    }))
  end
end

return {
  fieldOf = fieldOf, read = read, find = find, set = set, forget = forget, messageTo = messageTo, save = save, publish = publish,
}
