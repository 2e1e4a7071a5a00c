-- Stock: leave to send that a replica holds ahead of its calls, so that it need not ask for each
-- (docs/decisions/0022). All of it counts as leases that are out, as it may have been used by now; a
-- replica says later what it used. Of one that is not heard of in time it ends.
--
--   state.stocks  { [replica] = { count, endsAt, recalled } }

local STOCK_MS = 2000
-- One part in so many of what is left may be stock. Where that would be less than so many there is
-- none: what is scarce is granted one by one, in the one order.
local STOCK_PART, MIN_STOCK = 16, 8

for _, stock in pairs(state.stocks) do stocked = stocked + stock.count end
leaseCount = leaseCount + stocked

-- Sets what this replica has.
local function stockSet(count)
  local stock = state.stocks[me] or { count = 0 }
  stocked, leaseCount = stocked + count - stock.count, leaseCount + count - stock.count
  stock.count, stock.endsAt, stock.recalled = count, now + STOCK_MS, nil
  state.stocks[me] = count > 0 and stock or nil
end

-- One of this replica's became a lease, or is over already; says whether it had one.
local function stockUse()
  local stock = state.stocks[me]
  if stock then stockSet(stock.count - 1) end
  return stock ~= nil
end

-- What nobody tells of any more may have been used, and counts as spent, as leases do that expire.
local function stocksEnd()
  local ended = 0
  for name, stock in pairs(state.stocks) do
    if stock.endsAt <= now and ended < MAX_EXPIRED then
      for _ = 1, stock.count do
        stocked, leaseCount = stocked - 1, leaseCount - 1
        spend(b, slots, now)
      end
      ended = ended + stock.count
      state.stocks[name] = nil
    end
  end
end

-- Gives this replica up to `wanted` more; says how many.
local function stockAdd(wanted)
  if wanted <= 0 or queue.size > 0 or b.phase ~= 'metered' then return 0 end
  if usualOffer(b, slots, now) ~= 'slot' then return 0 end
  local most = math.floor((available(b) + stocked) / STOCK_PART)
  local added = math.min(wanted, most - stocked, available(b), MAX_GRANTED)
  if most < MIN_STOCK or added <= 0 then return 0 end
  local stock = state.stocks[me]
  stockSet((stock and stock.count or 0) + added)
  granting(b, now)
  return added
end

-- Where nothing is left to grant but stock, those who have some are asked to give it back.
local function stocksRecall()
  if stocked == 0 or usualOffer(b, slots, now) == 'slot' then return end
  for name, stock in pairs(state.stocks) do
    if not stock.recalled then
      stock.recalled = true
      if name ~= me and replicaOf(name) then messageFor(name).recall = true end
    end
  end
end

local function stocksEndAt()
  local at = HUGE
  for _, stock in pairs(state.stocks) do at = math.min(at, stock.endsAt) end
  return at
end
