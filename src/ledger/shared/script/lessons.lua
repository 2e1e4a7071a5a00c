-- lessons: exchanges what replicas learned of an API's buckets. It is a script of its own.
--
-- KEYS[1]: hash, lessons by what they are about, each `<time> <lesson>`; the field '' is the revision.
-- ARGV[1]: the revision that the replica knows.
-- ARGV[2…]: what a lesson is about, and the lesson as JSON, for each that the replica learned.
-- Returns: { revision, age in ms, lesson, age, lesson … }: all lessons if the revision is another one.

local TTL_MS = 7 * 24 * 3600000
local MAX_LESSONS = 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = tonumber(redis.call('HGET', KEYS[1], '') or '') or 0
local revision = before
if #ARGV > 1 then
  -- Beyond the bound all is forgotten, and replicas learn it anew.
  if redis.call('HLEN', KEYS[1]) + (#ARGV - 1) / 2 > MAX_LESSONS then redis.call('DEL', KEYS[1]) end
  revision = math.max(now, before + 1)
  for i = 2, #ARGV - 1, 2 do
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f ', now) .. ARGV[i + 1])
  end
  redis.call('HSET', KEYS[1], '', string.format('%.0f', revision))
  redis.call('PEXPIRE', KEYS[1], TTL_MS)
end
local reply = { string.format('%.0f', revision) }
if string.format('%.0f', before) ~= ARGV[1] then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local at, lesson = string.match(all[i + 1], '^(%d+) (.*)$')
    if at then
      table.insert(reply, string.format('%.0f', math.max(0, now - at)))
      table.insert(reply, lesson)
    end
  end
end
return reply
