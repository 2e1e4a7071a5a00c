-- The names by which the rest of the script calls its keys. All share one hash tag, so that a
-- cluster keeps a bucket on one node. The order is the one of `bucketKeys` in step-script.ts.
local key = {
  state = KEYS[1],    -- hash: layout, revision, bucket and slots (packed)
  queue = KEYS[2],    -- sorted set, all scores 0: waiting tickets by flow, arrival and order
  tickets = KEYS[3],  -- hash: what is known of a waiting ticket, by id
  active = KEYS[4],   -- sorted set: flows in which tickets wait, by their head's tag
  idle = KEYS[5],     -- sorted set: flows ahead of their share in which none waits, by finish
  flows = KEYS[6],    -- hash: a flow's tag, finish, length and head
  owners = KEYS[7],   -- hash: how many named flows an owner has
  lengths = KEYS[8],  -- sorted set: flows by how many wait in them
  leases = KEYS[9],   -- sorted set: leases by the time of their grant
  held = KEYS[10],    -- hash: what is known of a lease, by id
  offers = KEYS[11],  -- sorted set: leases that their replica has not confirmed, by when they end
  expired = KEYS[12], -- sorted set: leases that count as spent and whose answer may still come
  replicas = KEYS[13] -- hash: epoch, sequence, places and tickets of each replica
}

-- Those of them that this step may have made anew, without a lifetime.
local fresh = {}

-- Every digit of a number: Lua's own conversion keeps fourteen of the seventeen that matter.
local function exact(number)
  return string.format('%.17g', number)
end
