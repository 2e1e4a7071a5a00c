-- reserve: operations that are kept from owners who use much, for owners that do not wait now
-- (docs/decisions/0028), and for single callers by their shares (stated-shares.lua).
--
-- For owners nothing is kept before two used the bucket: state.owners (owners.lua) or batch.shares must be
-- there.
-- Reads: who used the bucket. Writes: `spread` of the bucket.
-- Returns: the table Reserve.

local spread = batch.spread or Model.DEFAULT_SPREAD
-- The survey of all owners, and the numbers that it was made of.
local surveyed, surveyedUses

-- All owners, as `period` lets their use fade.
local function survey(period)
  local uses, addToSurvey = state.uses, RecentOwners.addToSurvey
  if surveyedUses ~= uses then
    surveyed, surveyedUses = RecentOwners.makeSurvey(), uses
    for at = 1, #uses, 24 do
      local seenAt, used, waiting = struct.unpack('<ddd', uses, at)
      addToSurvey(surveyed, seenAt, used, waiting, period, now)
    end
  end
  return surveyed
end

-- Brings up to date whether there is a reserve, which forecasts take into account.
local function update()
  if Model.available(bucket) <= 0 then return end
  local period = spread > 0 and Model.periodMs(bucket)
  bucket.spread = period and RecentOwners.hasModestOwner(survey(period)) and spread or 0
end

-- Whether a ticket may use the reserve.
local function mayUse(ticket, isQueued)
  local period = Model.periodMs(bucket)
  if not period then return true end
  if not state.owners then return false end
  if batch.shares and Shares.isKeptForOthers(ticket) then return false end
  local place, seenAt, used, waiting = Owners.find(ticket.owner)
  local demand = place and FairQueue.fadedUse(seenAt, used, period, now) + waiting or 0
  if isQueued then demand = demand - FairQueue.useOf(ticket) end
  return RecentOwners.isModest(survey(period), demand)
end

-- Whether the reserve keeps a ticket waiting that is offered a grant of this kind: 'no'; 'yes'; 'used': it
-- may spend what is kept; 'after-modest': tickets of modest owners go first; 'stated': what is left is kept
-- for callers whose shares are stated.
local function keeps(ticket, kind, isQueued)
  local cost = ticket.cost or bucket.callCost
  if not Model.mayKeep(bucket, kind) then return 'no' end
  if batch.shares then
    if Shares.covers(ticket) then return Shares.spendsKept(ticket) and 'used' or 'no' end
    local isKept, forCallers = Shares.isKeptForOthers(ticket)
    if isKept then return 'stated' end
    if not state.owners then return 'no' end
    -- The reserve is a part of what the shares of callers leave.
    cost = cost + forCallers
  end
  if not Model.isScarce(bucket, spread, cost) then return 'no' end
  update()
  if bucket.spread == 0 then return 'no' end
  local isKept = Model.isKept(bucket, cost, now)
  if mayUse(ticket, isQueued) then return isKept and 'used' or 'no' end
  return isKept and 'yes' or 'after-modest'
end

-- Whether a queued ticket may use the reserve; it need not be searched if not.
local function mayBeUsed()
  local period = Model.periodMs(bucket)
  return period and RecentOwners.mayModestWait(survey(period))
end

-- How many of the available operations are kept, if nothing waits.
local function kept()
  local forCallers = batch.shares and Shares.kept() or 0
  -- With this much left, no request takes from a reserve.
  if not state.owners or Model.available(bucket) >= 2 * Model.maxKept(bucket, spread) then return forCallers end
  update()
  return Model.reserveAt(bucket, now).kept + forCallers
end

return { update = update, mayUse = mayUse, keeps = keeps, mayBeUsed = mayBeUsed, kept = kept }
