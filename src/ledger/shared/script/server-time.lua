-- server-time: the time of this step by the server's clock, in milliseconds.
--
-- Replicas and the script exchange durations only, since no two clocks agree. Tests replace this file
-- to set the time.
--
-- Defines: serverTime.

local function serverTime()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end
