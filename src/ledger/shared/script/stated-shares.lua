-- stated-shares: the parts of the limit that the settings state for single callers (docs/decisions/0048).
--
-- Record: state.shares = { [caller] = { used, usedAt, waiting } }: what the caller used of its share at
--   that time, and how many of its tickets are queued. It is absent while no such caller was seen.
-- Reads: batch.shares, which must be there. Writes: the record, and `stated` of the bucket.
-- Returns: the table Shares.

local parts, total = batch.shares, 0
for _, part in pairs(parts) do total = total + part end

-- How many operations a caller has not used of its share; 0 for one without a share.
local function owed(caller)
  local part, use = parts[caller], state.shares and state.shares[caller]
  if not part then return 0 end
  return Model.owedOperations(bucket, part, use and Model.usedOfShare(bucket, use[1], use[2], now) or 0)
end

-- Brings up to date what is kept for such callers.
local function update()
  local all = 0
  for caller in pairs(parts) do all = all + owed(caller) end
  bucket.stated = { part = total, owed = all }
end

-- The record of a caller; nil for one without a share.
local function useOf(caller)
  local known = state.shares and state.shares[caller]
  if known or not parts[caller] then return known end
  local shares = state.shares or {}
  -- The settings can have changed.
  for name, use in pairs(shares) do
    if not parts[name] and use[3] == 0 then shares[name] = nil end
  end
  shares[caller] = { 0, 0, 0 }
  state.shares = shares
  return shares[caller]
end

-- A ticket was added to the queue, or left it if `change` is negative.
local function countWaiting(ticket, change)
  local use = useOf(ticket.caller)
  if use then use[3] = math.max(0, use[3] + change) end
end

-- A ticket was granted.
local function granted(ticket)
  local use = useOf(ticket.caller)
  if not use then return end
  use[1] = Model.usedOfShare(bucket, use[1], use[2], now) + (ticket.cost or bucket.callCost)
  use[2] = now
  update()
end

-- Whether the share of its caller covers a ticket, with `before` operations of the caller before it.
local function covers(ticket, before)
  return owed(ticket.caller) >= (before or 0) + (ticket.cost or bucket.callCost)
end

-- How many tickets of its caller are queued, if that has a share.
local function waitingOf(ticket)
  local use = state.shares and state.shares[ticket.caller]
  return use and use[3] or 0
end

-- Whether a new ticket may go before all that wait. No ticket costs more than all extra operations and one.
local function mayPass(ticket)
  return waitingOf(ticket) == 0 and covers(ticket)
    and Model.fitsBesideShares(bucket, math.max(bucket.callCost, queue.extra + 1))
end

-- Whether a queued ticket may go before the one whose turn it is, which costs `cost`.
local function mayBePassed(cost)
  if not Model.fitsBesideShares(bucket, cost) then return false end
  for _, use in pairs(state.shares or {}) do
    if use[3] > 0 then return true end
  end
  return false
end

-- How many operations are kept for all such callers.
local function kept()
  return Model.statedReserveAt(bucket, bucket.stated.owed, now).kept
end

-- Whether a ticket spends some of it.
local function spendsKept(ticket)
  local left = Model.available(bucket) - (ticket.cost or bucket.callCost)
  return left >= 0 and left < kept()
end

-- Whether a ticket is kept waiting for callers other than its own, and how many operations are kept for them.
local function isKeptForOthers(ticket)
  local cost = ticket.cost or bucket.callCost
  local forOthers = Model.keptForOthers(bucket, owed(ticket.caller), cost, now)
  return forOthers > 0 and Model.available(bucket) - cost < forOthers, forOthers
end

return {
  update = update, countWaiting = countWaiting, granted = granted, covers = covers, waitingOf = waitingOf,
  mayPass = mayPass, mayBePassed = mayBePassed, kept = kept, spendsKept = spendsKept, isKeptForOthers = isKeptForOthers,
}
