-- prefetch: leases that a replica holds ahead of its calls, so that a call need not wait for a step
-- (docs/decisions/0022).
--
-- All of them count as leases in flight, since their replica may have used them by now. It reports
-- later which it used. They expire when their replica does not step in time.
--
-- The state stores prefetched leases under the name `stocks`. Messages call them `stock`, a request
-- for more `wants`, and a request to return them `recall`.
--
-- Record: state.stocks = { [replica] = { count, endsAt, recalled } }.
-- Reads and writes: the record, and the number of leases in flight, of which they are a part.
-- Returns: the table Prefetch.

local PREFETCH_MS = 2000
-- All prefetched leases together are at most one in DIVISOR of what is available. If that is less than
-- MIN_PREFETCHED there are none: scarce operations are granted one by one, in the queue's order.
local DIVISOR, MIN_PREFETCHED = 16, 8

-- How many leases may expire in one step. The others stay in flight until the next, which is safe.
local MAX_EXPIRED = 256

local held = state.stocks
-- How many all replicas hold.
local total = 0
for _, entry in pairs(held) do total = total + entry.count end

-- Sets how many this replica holds, and renews them for PREFETCH_MS.
local function set(count)
  local entry = held[me] or { count = 0 }
  local added = count - entry.count
  total, bucket.inFlight = total + added, bucket.inFlight + added
  entry.count, entry.endsAt, entry.recalled = count, now + PREFETCH_MS, nil
  held[me] = count > 0 and entry or nil
end

-- Removes one of this replica's, which became a lease or was settled. Returns whether it had any.
local function use()
  local entry = held[me]
  if entry then set(entry.count - 1) end
  return entry ~= nil
end

-- Expires the leases of replicas that did not step in time. They may be used, so they count as spent.
local function expire()
  local expired = 0
  for name, entry in pairs(held) do
    if entry.endsAt <= now and expired < MAX_EXPIRED then
      for _ = 1, entry.count do
        total, bucket.inFlight = total - 1, bucket.inFlight - 1
        Model.countLost(bucket, 1, now)
      end
      expired = expired + entry.count
      held[name] = nil
    end
  end
end

-- Gives this replica up to `wanted` more. Returns their number.
local function add(wanted)
  -- A prefetched lease is one operation, for a call that costs no more.
  if wanted <= 0 or queue.size > 0 or bucket.callCost ~= 1 then return 0 end
  local most = Model.maxPrefetched(bucket, now)
  if most <= 0 then return 0 end
  local available = Model.available(bucket)
  if state.owners or batch.shares then available = available - Reserve.kept() end
  local max = math.floor((available + total) / DIVISOR)
  local added = math.min(wanted, max - total, available, most, MAX_GRANTED)
  if max < MIN_PREFETCHED or added <= 0 then return 0 end
  local entry = held[me]
  set((entry and entry.count or 0) + added)
  -- They are counted in flight already.
  Model.granted(bucket, 'regular', now)
  return added
end

-- Asks all replicas to return theirs if too little else is left to grant. `isMissed`: a ticket waits
-- for the budget.
local function recall(isMissed)
  if total == 0 then return end
  if not isMissed and Model.regularOffer(bucket, 1, now) == 'regular' then return end
  for name, entry in pairs(held) do
    if not entry.recalled then
      entry.recalled = true
      if name ~= me and Replicas.find(name) then Replicas.messageTo(name).recall = true end
    end
  end
end

-- When the next will expire; infinite when there are none.
local function nextExpiryAt()
  local at = math.huge
  for _, entry in pairs(held) do at = math.min(at, entry.endsAt) end
  return at
end

-- When the rank-th waiting operation (from 1) can expect its grant; nil when too little is known.
-- Prefetched leases count as available, since they are returned when tickets wait. `isInShare`: the share
-- of its caller covers the operation.
local function eta(rank, isInShare)
  local forecast = isInShare and Model.etaInShare or Model.eta
  if total == 0 then return forecast(bucket, rank, now) end
  local free = Model.available(bucket)
  return forecast(bucket, rank - math.max(0, free + total) + math.max(0, free), now)
end

return {
  set = set, use = use, expire = expire, add = add, recall = recall, nextExpiryAt = nextExpiryAt,
  eta = eta,
}
