-- The bucket model: core/bucket.ts and its parts in Lua, as one record, for observations whose times
-- are delays. The differential test holds the two together. Where a field is nil here it is
-- undefined or infinitely far there. What is in one of the parts there says so.
--
--   b.phase      'unopened' | 'unmetered' | 'metered'
--   b.…At, b.…Until   milliseconds on the step's clock

local LEASE_MS = 10000
local HOLD_MS = 1000
local UNKNOWN_RESET_FIRST_MS, UNKNOWN_RESET_LAST_MS = 1000, 60000
local PROBE_FIRST_MS, PROBE_LAST_MS = 1000, 60000
local STUCK_USUAL_MS, STUCK_RETRY_AFTER_MS, STUCK_LAST_MS = 60000, 600000, 900000
local MAX_COUNTING_MS = 1000
local FIRST_LATENESS_MS, MAX_LATENESS_MS, LATENESS_DECAY = 50, 2000, 0.99
local MAX_WINDOW = 1024
local HUGE = math.huge
-- Leases that may expire in one step; the rest stay out until the next, which is the careful side.
local MAX_EXPIRED = 256

local function bucketNew(now, belief)
  local b = {
    phase = 'unopened', limit = 0, remaining = 0, uncertainty = 0, countsBefore = false,
    observations = 0, losses = 0, blockedByRetryAfter = false, blockObservation = 0, canaryDue = false,
    unknownReset = UNKNOWN_RESET_FIRST_MS, throttlesInARow = 0, lastGrantAt = now,
    stuck = STUCK_USUAL_MS, probeAt = 0, probeEvery = PROBE_FIRST_MS, window = 1, lateness = 0,
    periods = { count = 0 }, others = { count = 0 }, returns = 0, doubtful = 0, unknown = 0,
  }
  if belief then
    b.phase, b.limit, b.remaining, b.believedPeriod = 'metered', belief[1], belief[1], belief[2]
  end
  return b
end

-- Takes another limit from the configuration, as long as the API has reported none.
local function believe(b, slots, belief)
  if b.observations > 0 or (b.limit == belief[1] and b.believedPeriod == belief[2]) then return end
  local spent = b.phase == 'metered' and b.limit - b.remaining or 0
  b.phase, b.limit, b.believedPeriod = 'metered', belief[1], belief[2]
  b.remaining = math.max(0, b.limit - spent)
  slotsKeepLast(slots, b.limit - b.remaining)
end

-- core/largest-seen.ts
local function largestAdd(seen, value, span)
  seen.current = math.max(value, seen.current or value)
  seen.count = seen.count + 1
  if seen.count < span then return end
  seen.previous, seen.current, seen.count = seen.current, nil, 0
end

local function largest(seen)
  if not seen.previous then return seen.current end
  return seen.current and math.max(seen.previous, seen.current) or seen.previous
end

local function period(b)
  return largest(b.periods) or b.believedPeriod
end

local function observationsToRemember(limit)
  return math.max(64, 2 * limit)
end

local function available(b)
  return b.phase == 'metered' and b.remaining - leaseCount or 0
end

-- core/comebacks.ts: slotAt and refillAt
local function slotBackAt(b, slots)
  local first = slotsFirst(slots)
  return first and first + b.lateness
end

local function refillAt(b)
  return b.resetAt and b.resetAt + b.lateness
end

-- core/doubt.ts
local function doubtCount(b)
  return math.max(0, math.min(b.doubtful, b.unknown - (largest(b.others) or 0)))
end

local function doubtObserved(b, countedAt, countedUntil, between, unknown, span)
  if not b.doubtUntil or countedAt >= b.doubtUntil then b.doubtful = 0 end
  if between > 0 then
    b.doubtful, b.doubtFrom, b.doubtUntil = b.doubtful + between, countedAt, countedUntil
  end
  b.unknown = unknown
  largestAdd(b.others, math.max(0, unknown - leaseCount - b.doubtful), span)
end

-- core/comebacks.ts
local function askAt(b, slots)
  if doubtCount(b) == 0 then return nil end
  local at = b.doubtUntil + b.lateness
  local nextAt = math.min(slotBackAt(b, slots) or HUGE, refillAt(b) or HUGE)
  return nextAt - at > b.doubtUntil - b.doubtFrom and at or nil
end

-- core/canary.ts. Nothing says when something comes back: ask after a while, and less and less often.
local function canaryLater(b, now)
  if b.canaryDueAt then return end
  b.canaryDueAt = now + b.unknownReset
  b.unknownReset = math.min(b.unknownReset * 2, UNKNOWN_RESET_LAST_MS)
end

-- core/comebacks.ts
local function addSlot(b, slots, at, now)
  -- The API had it back before it said the number that we go by.
  if b.countedUntil and at <= b.countedUntil then return end
  slotsAdd(slots, at, math.max(period(b) or 0, at - now), 1)
end

-- Books an operation that nobody told of; says whether anything tells when it comes back.
local function spend(b, slots, now)
  b.losses = b.losses + 1
  if b.phase ~= 'metered' then return false end
  b.remaining = math.max(0, b.remaining - 1)
  local known = b.resetAt ~= nil or b.believedPeriod ~= nil
  if known then
    -- Its own reset, which we did not get to see, may lie behind the newest that we saw.
    local periodOn = now + (period(b) or 0)
    addSlot(b, slots, math.max(b.resetAt or periodOn, periodOn), now)
  end
  slotsKeepLast(slots, b.limit - b.remaining)
  if not known and b.remaining == 0 and leaseCount == 0 then canaryLater(b, now) end
  return known
end

-- Takes a lease off the books.
local function endLease(b, id, lease)
  leaseRemove(id, lease)
  if b.canary == id then b.canary = nil end
end

local function expireOldest(b, slots, now)
  local id = leaseOldest()
  local lease = leaseFind(id)
  endLease(b, id, lease)
  lease.loss, lease.recorded = 1, spend(b, slots, now)
  leaseExpire(id, lease, now)
  if lease.kind == 'canary' then canaryLater(b, now) end
end

-- Lets time pass: leases expire, slots come back, the reset and the block end.
local function advance(b, slots, now)
  local expired = 0
  while true do
    local _, grantedAt = leaseOldest()
    local leaseAt = grantedAt and expired < MAX_EXPIRED and grantedAt + LEASE_MS or HUGE
    local slotAt, refill = slotBackAt(b, slots) or HUGE, refillAt(b) or HUGE
    if math.min(leaseAt, slotAt, refill) > now then break end
    if leaseAt <= slotAt and leaseAt <= refill then
      expireOldest(b, slots, now)
      expired = expired + 1
    elseif refill <= slotAt then
      b.returns = b.returns + slots.size
      -- What was spent without an answer after the newest observation may still be out.
      slotsTakeUntil(slots, b.resetAt)
      local later = slotsCountBefore(slots, refill + (period(b) or 0) + 1)
      slotsClear(slots)
      b.remaining = math.max(0, b.limit - later)
      b.resetAt = nil
      b.canaryDue = available(b) <= 0
      b.heldUntil = refill + b.uncertainty + HOLD_MS
      b.cameBackAt = refill
    else
      local count = slotsTakeUntil(slots, slotsFirst(slots))
      b.returns = b.returns + count
      b.remaining = math.min(b.limit, b.remaining + count)
      b.cameBackAt = slotAt
    end
  end
  -- What came back by the clock is test enough; a canary goes only where nothing did.
  if b.blockedUntil and b.blockedUntil <= now then
    b.blockedUntil, b.canaryDue = nil, available(b) <= 0
  end
  if b.canaryDueAt and b.canaryDueAt <= now then
    b.canaryDueAt, b.canaryDue = nil, available(b) <= 0
  end
end

local function usualOffer(b, slots, now)
  if b.blockedUntil then return nil end
  if b.phase == 'unopened' then
    return (leaseCount == 0 or now >= b.probeAt) and 'probe' or nil
  end
  if b.phase == 'unmetered' then return leaseCount < b.window and 'slot' or nil end
  local isHeld = b.heldUntil and now < b.heldUntil
  if available(b) > 0 and not isHeld then return 'slot' end
  if not b.canary and (available(b) > 0 or b.canaryDue) then return 'canary' end
  -- Whatever is out will tell what one would ask.
  local at = leaseCount == 0 and askAt(b, slots)
  return at and now >= at and 'canary' or nil
end

-- core/canary.ts. The time after which one request goes whatever we believe: no belief may last for
-- ever.
local function stuckAt(b)
  local told = b.blockedUntil and b.blockedByRetryAfter
  return b.lastGrantAt + math.max(b.stuck, told and STUCK_RETRY_AFTER_MS or STUCK_USUAL_MS)
end

-- Whether a request may go now, and as what; nil when it must wait.
local function offer(b, slots, now)
  return usualOffer(b, slots, now) or (now >= stuckAt(b) and 'canary') or nil
end

-- Whether what goes now tests the clock: it goes since something came back by it.
local function trusts(b, now)
  local soonAfter = b.cameBackAt and now - b.cameBackAt <= b.uncertainty + MAX_LATENESS_MS
  return available(b) > 0 and soonAfter or false
end

-- Something goes, and tells as much as a canary would.
local function granting(b, now)
  b.lastGrantAt = now
  b.canaryDue = false
end

-- Lets one request go, which `offer` must have said may. The caller keeps the lease.
local function grant(b, slots, now, id, replica)
  local kind = offer(b, slots, now)
  local lease = {
    kind = kind, grantedAt = now, observation = b.observations, replica = replica,
    losses = b.losses, loss = 0, returns = b.returns, recorded = false, trusted = trusts(b, now),
  }
  leaseAdd(id, lease)
  granting(b, now)
  if kind == 'canary' then
    b.canary = id
  elseif kind == 'probe' then
    b.probeAt = now + b.probeEvery
    b.probeEvery = math.min(b.probeEvery * 2, PROBE_LAST_MS)
  end
  return lease
end

local function headerless(b, slots, status, now)
  if b.phase == 'metered' then
    local uncounted = b.observations > 0 and status >= 400 and status < 500
    if not uncounted then spend(b, slots, now) end
    return
  end
  if b.phase == 'unopened' then b.probeAt = 0 end
  if status < 200 or status >= 300 then return end
  b.phase = 'unmetered'
  b.window = math.min(b.window + 1, MAX_WINDOW)
end

-- core/newest-observation.ts, isBefore: whether an answer was given after the one we believe.
-- Causality first, stamps second: the API's own where both answers have one, else the resets as far
-- as they tell two apart.
local function isNewer(b, lease, o)
  if b.reportedRemaining == nil or lease.observation >= b.observations then return true end
  local laterBy
  if o.stamp and b.reportedStamp then laterBy = o.stamp - b.reportedStamp
  elseif o.resetAt and b.reportedResetAt then laterBy = o.resetAt - b.reportedResetAt end
  local within = math.max(o.sameWithin, b.reportedWithin or 0)
  if laterBy and laterBy > within then return true end
  if laterBy and laterBy < -within then return false end
  return (o.remaining or 0) < b.reportedRemaining
end

local function observe(b, slots, lease, o, now)
  local throttled, said = o.status == 429, o.remaining or 0
  local first, refilled = b.reportedRemaining == nil, b.heldUntil ~= nil
  local limit = math.max(o.limit or b.limit, said, 1)
  if not throttled and (first or refilled) and lease.kind ~= 'slot' then
    if said == limit then b.countsBefore = true
    elseif said == limit - 1 then b.countsBefore = false end
  end
  local counted = math.max(0, said - ((b.countsBefore and not throttled) and 1 or 0))
  -- What was spent without an answer while this one was out may not be in its number yet.
  local remaining = math.max(0, counted - (b.losses - lease.losses - lease.loss))
  local otherLimit = not first and limit ~= b.limit and remaining > b.remaining

  b.phase = 'metered'
  b.observations = b.observations + 1
  b.observedAt = now
  b.reportedRemaining, b.reportedResetAt, b.reportedStamp = said, o.resetAt, o.stamp
  b.reportedWithin = o.sameWithin
  b.limit, b.remaining, b.uncertainty = limit, remaining, o.uncertainty
  b.heldUntil = otherLimit and now + o.uncertainty + HOLD_MS or nil
  b.canaryDue = false
  local overruled = not b.blockedByRetryAfter or lease.observation >= b.blockObservation
  if remaining > 0 and overruled then b.blockedUntil = nil end

  -- From when the API counted the call at the earliest; a slow answer does not make it longer.
  local countedAt = math.max(lease.grantedAt, now - MAX_COUNTING_MS)
  local span = observationsToRemember(limit)
  b.countedUntil = now + o.uncertainty
  local returning = slotsTakeUntil(slots, b.countedUntil)
  slotsKeepLast(slots, limit - counted)
  local between, unknown = b.returns - lease.returns + returning, limit - counted - slots.size
  doubtObserved(b, countedAt, b.countedUntil, between, unknown, span)

  if o.resetAt and o.resetAt > now then
    b.resetAt = o.resetAt
    largestAdd(b.periods, o.resetAt - countedAt, span)
    b.unknownReset = UNKNOWN_RESET_FIRST_MS
    b.canaryDueAt = nil
  else
    b.resetAt = nil
    if remaining > 0 then b.unknownReset = UNKNOWN_RESET_FIRST_MS end
    canaryLater(b, now)
  end
end

-- Lateness is core/comebacks.ts, being stuck core/canary.ts, the rest core/block.ts: refused.
local function throttled(b, slots, lease, o, now)
  if lease.trusted then
    local most = o.uncertainty + MAX_LATENESS_MS
    b.lateness = math.min(math.max(b.lateness * 2, FIRST_LATENESS_MS), most)
  end
  if lease.kind == 'canary' then b.stuck = math.min(b.stuck * 2, STUCK_LAST_MS) end
  -- What was out together when the API first refused is one refusal, however many answers it has.
  local sameRefusal = b.blockedUntil and b.blockedAt and lease.grantedAt <= b.blockedAt
  local told = o.retryAt ~= nil and o.retryAt > now
  if sameRefusal and not told and b.blockedByRetryAfter then return end
  b.canaryDueAt = nil
  b.blockObservation = b.observations
  b.blockedByRetryAfter = told
  if not sameRefusal then b.blockedAt = now end
  if told then
    b.blockedUntil, b.throttlesInARow = o.retryAt, 0
    return
  end
  local backAt = math.min(slotBackAt(b, slots) or HUGE, refillAt(b) or HUGE)
  if backAt > now and backAt < HUGE then
    b.blockedUntil, b.throttlesInARow = backAt, 0
    return
  end
  if sameRefusal then return end
  local most = math.min(UNKNOWN_RESET_FIRST_MS * 2 ^ b.throttlesInARow, UNKNOWN_RESET_LAST_MS)
  b.throttlesInARow = math.min(b.throttlesInARow + 1, 16)
  b.blockedUntil = now + math.max(50, most * o.random)
end

-- The response's headers arrived. `wasOut`: the lease had not expired before.
local function answered(b, slots, lease, wasOut, o, now)
  if lease.kind == 'probe' then b.probeEvery = PROBE_FIRST_MS end
  local isThrottle = o.status == 429
  if o.remaining == nil and not isThrottle then
    if wasOut then headerless(b, slots, o.status, now) end
    return
  end
  if o.remaining == nil and o.resetAt == nil then
    b.window, b.remaining = 1, 0
    throttled(b, slots, lease, o, now)
    return
  end
  local resetPassed = o.resetAt ~= nil and o.resetAt <= now
  local othersAhead = b.resetAt ~= nil and b.resetAt > now
  local refused = isThrottle and (o.remaining or 0) == 0
  if resetPassed and othersAhead then
    -- Its numbers are stale, but an instruction is obeyed.
    if refused and o.retryAt and o.retryAt > now then throttled(b, slots, lease, o, now) end
    return
  end

  local unrecorded = (wasOut or not lease.recorded) and not isThrottle
  if unrecorded and o.resetAt and not resetPassed then
    addSlot(b, slots, o.resetAt, now)
  end
  if not isNewer(b, lease, o) then
    b.unknown = b.unknown - 1
    return
  end
  observe(b, slots, lease, o, now)
  if refused then
    throttled(b, slots, lease, o, now)
  else
    b.stuck, b.throttlesInARow = STUCK_USUAL_MS, 0
    if lease.trusted then b.lateness = b.lateness * LATENESS_DECAY end
  end
end

local function unsent(b, lease)
  if lease.kind == 'canary' then b.canaryDue = available(b) <= 0 end
  if lease.kind == 'probe' then b.probeAt = 0 end
end

local function lost(b, slots, lease, now)
  spend(b, slots, now)
  if lease.kind == 'canary' then canaryLater(b, now) end
end

-- When `offer` may next say something else than it does now; never infinitely far.
local function nextWakeAt(b, slots, now)
  local at = stuckAt(b)
  local function consider(time)
    if time and time > now and time < at then at = time end
  end
  consider(b.blockedUntil)
  consider(slotBackAt(b, slots))
  consider(refillAt(b))
  local ask = askAt(b, slots)
  if leaseCount == 0 then consider(ask) end
  consider(b.heldUntil)
  consider(b.canaryDueAt)
  if b.phase == 'unopened' then consider(b.probeAt) end
  if b.canary or b.phase ~= 'metered' or ask then
    local _, grantedAt = leaseOldest()
    consider(grantedAt and grantedAt + LEASE_MS)
  end
  return math.max(at, now)
end

-- core/comebacks.ts: nth. What replicas hold in stock they give back when somebody waits.
local function etaUnblocked(b, slots, rank, now)
  if b.phase ~= 'metered' then return nil end
  local free = math.max(0, available(b) + stocked)
  if rank <= free then return now end
  local refill = refillAt(b)
  local beforeRefill = refill and slotsCountBefore(slots, refill - b.lateness) or slots.size
  local index, ask = rank - free - 1, askAt(b, slots)
  if ask then
    local asked = doubtCount(b)
    if index < asked then return ask end
    index = index - asked
  end
  local periods, place = math.floor(index / b.limit), index % b.limit
  local slotAt = place < beforeRefill and slotsNth(slots, place) or nil
  local at = slotAt and slotAt + b.lateness or refill
  if at == nil then return nil end
  if periods == 0 then return at end
  return period(b) and at + periods * period(b)
end

-- When the rank-th waiting ticket (from 1) can expect its grant; nil when too little is known.
local function eta(b, slots, rank, now)
  local start = math.max(now, b.blockedUntil or now)
  local known = etaUnblocked(b, slots, rank, now)
  if known == nil then return b.blockedUntil and start or nil end
  return math.max(start, known)
end
