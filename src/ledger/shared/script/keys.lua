-- keys: the names by which the rest of the script calls its keys.
--
-- Reads: KEYS, in the order of `bucketKeys` in step-script.ts. They share one hash tag, so that a
--   cluster keeps a bucket on one node.
-- Defines: key, fresh, unmade, lazily.

local key = {
  state = KEYS[1],    -- hash: layout, revision; state, bucket, slots, leases and replicas (packed)
  queue = KEYS[2],    -- sorted set, all scores 0: waiting tickets by flow, arrival and order
  tickets = KEYS[3],  -- hash: waiting tickets, by id
  active = KEYS[4],   -- sorted set: flows with waiting tickets, by the tag of their head
  idle = KEYS[5],     -- sorted set: empty flows that are ahead of their share, by finish
  flows = KEYS[6],    -- hash: a flow's tag, finish, length and head
  owners = KEYS[7],   -- hash: how many named flows an owner has, and its recent names
  lengths = KEYS[8],  -- sorted set: flows by the number of their waiting tickets
  leases = KEYS[9],   -- sorted set: leases in flight, by the time of their grant
  offers = KEYS[10],  -- sorted set: leases that their replica has not confirmed, by the offer's end
  expired = KEYS[11]  -- sorted set: leases that count as spent and may still be answered, by expiry
}

-- The names of keys that this step may have created, which have no lifetime yet.
local fresh = {}

-- The metatable of modules of which a part is not made yet.
local unmade = {}
function unmade.__index(module, name)
  local rest = module[1]()
  setmetatable(module, { __index = rest })
  return rest[name]
end

-- Returns a module of which the function `module[1]` makes a part, once a field of that is read. Redis
-- makes all functions of a script anew in each step, and few steps need all of them.
local function lazily(module)
  return setmetatable(module, unmade)
end
