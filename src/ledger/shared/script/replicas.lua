-- replicas: the replicas that use the bucket, and the messages of this step to them.
--
-- Record: { epoch, sequence, heardAt, free, sheds, shedsBefore, shedsAt, dropped }.
--   heardAt                      the time of its last step
--   free                         its free sockets
--   sheds, shedsBefore, shedsAt  how many of its tickets were shed by others' arrival in its epoch:
--                                now, and at the time shedsAt
--   dropped                      true: some of its tickets were removed, so it must declare
-- Message: { granted, shed, recall }, published as JSON with bucket, epoch and free.
-- Reads and writes: key.replicas. A record is read once, and `save` writes those marked `dirty`.
-- Returns: the table Replicas.

local FORGOTTEN_MS = 600000

local records, messages = {}, {}

-- The record of a replica; false when there is none.
local function find(name)
  if records[name] == nil then
    local packed = redis.call('HGET', key.replicas, name)
    records[name] = packed and cmsgpack.unpack(packed) or false
  end
  return records[name]
end

local function set(name, record)
  records[name] = record
end

-- Removes the replicas whose last step was long ago.
local function forget(now)
  local all = redis.call('HGETALL', key.replicas)
  for i = 1, #all, 2 do
    local record = cmsgpack.unpack(all[i + 1])
    if now - record.heardAt > FORGOTTEN_MS then redis.call('HDEL', key.replicas, all[i]) end
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

local function save()
  for name, record in pairs(records) do
    if record and record.dirty then
      record.dirty = nil
      redis.call('HSET', key.replicas, name, cmsgpack.pack(record))
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
  find = find, set = set, forget = forget, messageTo = messageTo, save = save, publish = publish,
}
