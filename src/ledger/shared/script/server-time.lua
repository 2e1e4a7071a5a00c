-- The time of this step, in milliseconds: the server's own, since no two replicas agree on theirs.
local function serverTime()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end
