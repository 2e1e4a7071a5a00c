-- reserve: operations that are kept from owners who use much, for owners that do not wait now
-- (docs/decisions/0028).
--
-- Record: while one owner alone used the bucket, state.sole = { name, seenAt, waiting }; then
--   state.owners, the packed lists of RecentOwners in src/queue/recent-owners.ts, and
--   state.recordedAt, when a grant was recorded last.
-- While state.owners is absent, nothing is kept, and only `queued`, `unqueued` and `granted` may be called;
--   owners.lua does for the sole owner what they do.
-- Reads and writes: the record, and `spread` of the bucket. The lists are unpacked when they are first
--   needed, and `save` packs them if they changed.
-- Returns: the table Reserve.

-- How many grants of a period are recorded at least while much is left.
local SAMPLES_PER_PERIOD = 100

local spread = batch.spread or Model.DEFAULT_SPREAD
local owners
local isChanged = false

local function load()
  if not owners then
    local names, seenAt, used, waiting = cmsgpack.unpack(state.owners)
    owners = { names = names, seenAt = seenAt, used = used, waiting = waiting }
  end
  return owners
end

-- Records a request of an owner: what it used now, and what was added to its queued tickets.
local function see(name, use, queued)
  local sole = state.sole
  if not state.owners then
    if not sole then
      state.sole = { name, now, queued }
      return
    end
    owners = { names = { sole[1] }, seenAt = { sole[2] }, used = { 0 }, waiting = { sole[3] } }
    state.owners, state.sole = '', nil
  end
  RecentOwners.seeOwner(load(), name, use, Model.periodMs(bucket), now)
  if queued > 0 then RecentOwners.countWaiting(owners, name, queued) end
  isChanged = true
end

-- A ticket was added to the queue.
local function queued(ticket)
  if spread > 0 then see(ticket.owner, 0, FairQueue.useOf(ticket)) end
end

-- A ticket left the queue.
local function unqueued(ticket)
  if spread == 0 then return end
  -- Keys can be evicted one by one: then it may be of an owner that is not known.
  if not state.owners then return end
  RecentOwners.countWaiting(load(), ticket.owner, -FairQueue.useOf(ticket))
  isChanged = true
end

local function isWide()
  return Model.available(bucket) >= 2 * Model.maxKept(bucket, spread)
end

-- A ticket was granted.
local function granted(ticket)
  if spread == 0 then return end
  if not state.owners then return see(ticket.owner, FairQueue.useOf(ticket), 0) end
  -- While much is left, some of the grants show who uses the bucket.
  local every = (Model.periodMs(bucket) or math.huge) / SAMPLES_PER_PERIOD
  if now - (state.recordedAt or -math.huge) < every and isWide() then return end
  state.recordedAt = now
  see(ticket.owner, FairQueue.useOf(ticket), 0)
end

-- Brings up to date whether there is a reserve, which forecasts take into account.
local function update()
  if Model.available(bucket) <= 0 then return end
  local period = spread > 0 and Model.periodMs(bucket)
  bucket.spread = period and RecentOwners.hasModestOwner(load(), period, now) and spread or 0
end

-- Whether a ticket may use the reserve.
local function mayUse(ticket, isQueued)
  local period = Model.periodMs(bucket)
  if not period then return true end
  local own = isQueued and FairQueue.useOf(ticket) or 0
  return RecentOwners.isModest(load(), ticket.owner, own, period, now)
end

-- Whether the reserve keeps a ticket waiting that is offered a grant of this kind: 'no', 'yes', or
-- 'after-modest' if tickets of modest owners go first.
local function keeps(ticket, kind, isQueued)
  local cost = ticket.cost or bucket.callCost
  if not Model.mayKeep(bucket, kind) or not Model.isScarce(bucket, spread, cost) then return 'no' end
  update()
  if bucket.spread == 0 or mayUse(ticket, isQueued) then return 'no' end
  return Model.isKept(bucket, cost, now) and 'yes' or 'after-modest'
end

-- Whether a queued ticket may use the reserve; it need not be searched if not.
local function mayBeUsed()
  local period = Model.periodMs(bucket)
  return period and RecentOwners.mayModestWait(load(), period, now)
end

-- How many of the available operations are kept, if nothing waits.
local function kept()
  if isWide() then return 0 end
  update()
  return Model.reserveAt(bucket, now).kept
end

local function save()
  if not isChanged then return end
  state.owners = cmsgpack.pack(owners.names, owners.seenAt, owners.used, owners.waiting)
end

return {
  queued = queued, unqueued = unqueued, granted = granted, update = update, mayUse = mayUse,
  keeps = keeps, mayBeUsed = mayBeUsed, kept = kept, save = save,
}
