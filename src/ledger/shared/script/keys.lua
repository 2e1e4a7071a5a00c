-- keys: the names by which the rest of the script calls its keys.
--
-- Reads: KEYS, in the order of `bucketKeys` in step-script.ts. They share one hash tag, so that a
--   cluster keeps a bucket on one node.
-- Defines: key, fresh, exact, lazily.

local key = {
  state = KEYS[1],    -- hash: layout, revision; state, bucket and slots (packed)
  queue = KEYS[2],    -- sorted set, all scores 0: waiting tickets by flow, arrival and order
  tickets = KEYS[3],  -- hash: waiting tickets, by id
  active = KEYS[4],   -- sorted set: flows with waiting tickets, by the tag of their head
  idle = KEYS[5],     -- sorted set: empty flows that are ahead of their share, by finish
  flows = KEYS[6],    -- hash: a flow's tag, finish, length and head
  owners = KEYS[7],   -- hash: how many named flows an owner has, and its recent names
  lengths = KEYS[8],  -- sorted set: flows by the number of their waiting tickets
  leases = KEYS[9],   -- sorted set: leases in flight, by the time of their grant
  held = KEYS[10],    -- hash: leases in flight or expired, by id
  offers = KEYS[11],  -- sorted set: leases that their replica has not confirmed, by the offer's end
  expired = KEYS[12], -- sorted set: leases that count as spent and may still be answered, by expiry
  replicas = KEYS[13] -- hash: epoch, sequence and free sockets of each replica
}

-- The names of keys that this step may have created, which have no lifetime yet.
local fresh = {}

-- Formats a number with every digit: Lua's own conversion keeps 14 of the 17 significant ones.
local function exact(number)
  return string.format('%.17g', number)
end

-- The module that `make` returns, made when a field of it is first read.
local function lazily(make)
  local meta = {}
  function meta.__index(_, name)
    meta.__index = make()
    return meta.__index[name]
  end
  return setmetatable({}, meta)
end
