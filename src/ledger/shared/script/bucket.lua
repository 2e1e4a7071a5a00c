-- bucket: the model of one budget at the API, as one record.
--
-- The Lua form of src/budget/bucket.ts and the files beside it, which comments here name. The times
-- of its observations are durations, and it has no shares. A field that is nil here is undefined or
-- infinite there. The differential test compares the two.
--
-- Record `b`, stored with these field names. Times (…At, …Until) are on the step's clock. Times and
-- spans are in milliseconds.
--   phase                     'unopened', 'unmetered' or 'metered'
--   limit, remaining          the budget by the model, once metered
--   observations, observedAt  how many observations were the newest, and when the last one arrived
--   reportedRemaining, reportedResetAt, reportedStamp, reportedWithin
--                             the newest observation, as the API reported it
--   uncertainty               how much earlier than reported its reset may be
--   resetAt                   its reset, until that has passed
--   countedUntil              slots that return by then are in its number already
--   countsBefore              true: the API reports `remaining` without the answered call
--   losses, returns           operations spent without an answer; slots returned by the clock
--   cameBackAt, lateness      the last return by the clock; the margin that is added to return times
--   periods, believedPeriod   the observed periods; the period that the configuration states
--   doubtful, doubtFrom, doubtUntil, unknown, others
--                             see uncounted-slots.ts
--   blockedUntil, blockedByRetryAfter, blockedAt, blockObservation, throttlesInARow
--                             see backoff.ts
--   canary, canaryDue, canaryDueAt, heldUntil, unknownReset, stuck, lastGrantAt
--                             see Canary in trials.ts; `canary` is the id of its lease
--   probeAt, probeEvery, window
--                             see Opening in trials.ts
-- Lease kinds, in the state and in messages: 'slot' is a regular grant, 'probe' the first request of
-- an unopened bucket, 'canary' a canary.
--
-- Reads and writes: leases (leases.lua), and the record and the slots that are passed to a function.
-- Returns: the table Bucket.

local LEASE_MS = 10000
local HOLD_MS = 1000
local UNKNOWN_RESET_FIRST_MS, UNKNOWN_RESET_MAX_MS = 1000, 60000
local FIRST_REQUEST_INTERVAL_MS, FIRST_REQUEST_INTERVAL_MAX_MS = 1000, 60000
local FORCED_USUAL_MS, FORCED_RETRY_AFTER_MS, FORCED_MAX_MS = 60000, 600000, 900000
local MAX_COUNTED_BEFORE_MS = 1000
local FIRST_MARGIN_MS, MAX_MARGIN_MS, MARGIN_DECAY = 50, 2000, 0.99
local MAX_WINDOW = 1024
local HUGE = math.huge
-- How many leases may expire in one step. The others stay in flight until the next, which is safe.
local MAX_EXPIRED = 256

local inFlight = Leases.inFlight

local function new(now, belief)
  local b = {
    phase = 'unopened', limit = 0, remaining = 0, uncertainty = 0, countsBefore = false,
    observations = 0, losses = 0, blockedByRetryAfter = false, blockObservation = 0,
    canaryDue = false, unknownReset = UNKNOWN_RESET_FIRST_MS, throttlesInARow = 0,
    lastGrantAt = now, stuck = FORCED_USUAL_MS, probeAt = 0,
    probeEvery = FIRST_REQUEST_INTERVAL_MS, window = 1, lateness = 0,
    periods = { count = 0 }, others = { count = 0 }, returns = 0, doubtful = 0, unknown = 0,
  }
  if belief then
    b.phase, b.limit, b.remaining, b.believedPeriod = 'metered', belief[1], belief[1], belief[2]
  end
  return b
end

-- Applies another limit from the configuration, as long as the API has reported none.
local function believe(b, slots, belief)
  if b.observations > 0 or (b.limit == belief[1] and b.believedPeriod == belief[2]) then return end
  local spent = b.phase == 'metered' and b.limit - b.remaining or 0
  b.phase, b.limit, b.believedPeriod = 'metered', belief[1], belief[2]
  b.remaining = math.max(0, b.limit - spent)
  Slots.keepLast(slots, b.limit - b.remaining)
end

-- util/windowed-max.ts
local function addToMax(max, value, span)
  max.current = math.max(value, max.current or value)
  max.count = max.count + 1
  if max.count < span then return end
  max.previous, max.current, max.count = max.current, nil, 0
end

local function maxOf(max)
  if not max.previous then return max.current end
  return max.current and math.max(max.previous, max.current) or max.previous
end

local function period(b)
  return maxOf(b.periods) or b.believedPeriod
end

local function observationsToRemember(limit)
  return math.max(64, 2 * limit)
end

local function available(b)
  return b.phase == 'metered' and b.remaining - inFlight.count or 0
end

-- refill.ts: nextSlotAt and fullRefillAt
local function nextSlotAt(b, slots)
  local first = Slots.first(slots)
  return first and first + b.lateness
end

local function fullRefillAt(b)
  return b.resetAt and b.resetAt + b.lateness
end

-- uncounted-slots.ts
local function countUncounted(b)
  return math.max(0, math.min(b.doubtful, b.unknown - (maxOf(b.others) or 0)))
end

local function observeUncounted(b, countedAt, countedUntil, returned, unmatched, span)
  if not b.doubtUntil or countedAt >= b.doubtUntil then b.doubtful = 0 end
  if returned > 0 then
    b.doubtful, b.doubtFrom, b.doubtUntil = b.doubtful + returned, countedAt, countedUntil
  end
  b.unknown = unmatched
  addToMax(b.others, math.max(0, unmatched - inFlight.count - b.doubtful), span)
end

-- refill.ts: checkAt
local function checkAt(b, slots)
  if countUncounted(b) == 0 then return nil end
  local at = b.doubtUntil + b.lateness
  local nextAt = math.min(nextSlotAt(b, slots) or HUGE, fullRefillAt(b) or HUGE)
  return nextAt - at > b.doubtUntil - b.doubtFrom and at or nil
end

-- trials.ts: schedule. No return is known, so a canary is due after a while, which grows each time.
local function scheduleCanary(b, now)
  if b.canaryDueAt then return end
  b.canaryDueAt = now + b.unknownReset
  b.unknownReset = math.min(b.unknownReset * 2, UNKNOWN_RESET_MAX_MS)
end

-- refill.ts: addSlot
local function addSlot(b, slots, at, now)
  -- The newest observation's number has this return already.
  if b.countedUntil and at <= b.countedUntil then return end
  Slots.add(slots, at, math.max(period(b) or 0, at - now), 1)
end

-- Counts an operation as spent without an answer. Returns whether the time of its return is known.
local function spend(b, slots, now)
  b.losses = b.losses + 1
  if b.phase ~= 'metered' then return false end
  b.remaining = math.max(0, b.remaining - 1)
  local known = b.resetAt ~= nil or b.believedPeriod ~= nil
  if known then
    -- The operation's own reset is unknown. It may be later than the newest reported one.
    local periodOn = now + (period(b) or 0)
    addSlot(b, slots, math.max(b.resetAt or periodOn, periodOn), now)
  end
  Slots.keepLast(slots, b.limit - b.remaining)
  if not known and b.remaining == 0 and inFlight.count == 0 then scheduleCanary(b, now) end
  return known
end

-- Removes a lease, in flight or expired.
local function endLease(b, id, lease)
  Leases.remove(id, lease)
  if b.canary == id then b.canary = nil end
end

local function expireOldest(b, slots, now)
  local id = Leases.oldest()
  local lease = Leases.find(id)
  endLease(b, id, lease)
  lease.loss, lease.recorded = 1, spend(b, slots, now)
  Leases.expire(id, lease, now)
  if lease.kind == 'canary' then scheduleCanary(b, now) end
end

-- Applies the time that has passed: leases expire, slots return, the reset and the block end.
local function advance(b, slots, now)
  local expired = 0
  while true do
    local _, grantedAt = Leases.oldest()
    local leaseAt = grantedAt and expired < MAX_EXPIRED and grantedAt + LEASE_MS or HUGE
    local slotAt, refillAt = nextSlotAt(b, slots) or HUGE, fullRefillAt(b) or HUGE
    if math.min(leaseAt, slotAt, refillAt) > now then break end
    if leaseAt <= slotAt and leaseAt <= refillAt then
      expireOldest(b, slots, now)
      expired = expired + 1
    elseif refillAt <= slotAt then
      b.returns = b.returns + slots.size
      -- Slots of operations that had no answer, after the newest observation, may not be returned.
      Slots.takeUntil(slots, b.resetAt)
      local stillSpent = Slots.countBefore(slots, refillAt + (period(b) or 0) + 1)
      Slots.clear(slots)
      b.remaining = math.max(0, b.limit - stillSpent)
      b.resetAt = nil
      b.canaryDue = available(b) <= 0
      b.heldUntil = refillAt + b.uncertainty + HOLD_MS
      b.cameBackAt = refillAt
    else
      local count = Slots.takeUntil(slots, Slots.first(slots))
      b.returns = b.returns + count
      b.remaining = math.min(b.limit, b.remaining + count)
      b.cameBackAt = slotAt
    end
  end
  -- If the clock returned slots, a grant from them is a test already, and no canary is due.
  if b.blockedUntil and b.blockedUntil <= now then
    b.blockedUntil, b.canaryDue = nil, available(b) <= 0
  end
  if b.canaryDueAt and b.canaryDueAt <= now then
    b.canaryDueAt, b.canaryDue = nil, available(b) <= 0
  end
end

-- The kind of grant that the model allows now; nil when requests must wait.
local function usualOffer(b, slots, now)
  if b.blockedUntil then return nil end
  if b.phase == 'unopened' then
    return (inFlight.count == 0 or now >= b.probeAt) and 'probe' or nil
  end
  if b.phase == 'unmetered' then return inFlight.count < b.window and 'slot' or nil end
  local isHeld = b.heldUntil and now < b.heldUntil
  if available(b) > 0 and not isHeld then return 'slot' end
  if not b.canary and (available(b) > 0 or b.canaryDue) then return 'canary' end
  -- No check is needed while a lease is in flight, since its answer reports the same.
  local at = inFlight.count == 0 and checkAt(b, slots)
  return at and now >= at and 'canary' or nil
end

-- trials.ts: forcedAt. From this time on a canary is granted whatever the model says, since no belief
-- may last for ever.
local function forcedAt(b)
  local byRetryAfter = b.blockedUntil and b.blockedByRetryAfter
  local atLeast = byRetryAfter and FORCED_RETRY_AFTER_MS or FORCED_USUAL_MS
  return b.lastGrantAt + math.max(b.stuck, atLeast)
end

-- The kind of grant that may be given now, a forced canary included; nil when requests must wait.
local function offer(b, slots, now)
  return usualOffer(b, slots, now) or (now >= forcedAt(b) and 'canary') or nil
end

-- Whether a grant now relies on our reading of the API's clock, by which a slot returned just before.
local function trustsClock(b, now)
  local soonAfter = b.cameBackAt and now - b.cameBackAt <= b.uncertainty + MAX_MARGIN_MS
  return available(b) > 0 and soonAfter or false
end

-- Records that a request is granted. Its answer reports as much as a canary's, so none is due.
local function noteGrant(b, now)
  b.lastGrantAt = now
  b.canaryDue = false
end

-- Grants one request, which `offer` must have allowed, and stores its lease. Returns the lease.
local function grant(b, slots, now, id, replica)
  local kind = offer(b, slots, now)
  local lease = {
    kind = kind, grantedAt = now, observation = b.observations, replica = replica,
    losses = b.losses, loss = 0, returns = b.returns, recorded = false,
    trusted = trustsClock(b, now),
  }
  Leases.add(id, lease)
  noteGrant(b, now)
  if kind == 'canary' then
    b.canary = id
  elseif kind == 'probe' then
    b.probeAt = now + b.probeEvery
    b.probeEvery = math.min(b.probeEvery * 2, FIRST_REQUEST_INTERVAL_MAX_MS)
  end
  return lease
end

-- Applies an answer without rate headers.
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

-- observation-order.ts: isBefore. Whether the API gave this answer after the newest observation.
-- Causality decides first, stamps second: the API's own if both answers have one, else the resets, if
-- they differ by more than their precision.
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

-- Applies the newest observation `o`, the answer to `lease`.
local function observe(b, slots, lease, o, now)
  local isThrottle, reported = o.status == 429, o.remaining or 0
  local first, refilled = b.reportedRemaining == nil, b.heldUntil ~= nil
  local limit = math.max(o.limit or b.limit, reported, 1)
  if not isThrottle and (first or refilled) and lease.kind ~= 'slot' then
    if reported == limit then b.countsBefore = true
    elseif reported == limit - 1 then b.countsBefore = false end
  end
  local counted = math.max(0, reported - ((b.countsBefore and not isThrottle) and 1 or 0))
  -- Its number may lack operations that were spent without an answer while it was in flight.
  local remaining = math.max(0, counted - (b.losses - lease.losses - lease.loss))
  local otherLimit = not first and limit ~= b.limit and remaining > b.remaining

  b.phase = 'metered'
  b.observations = b.observations + 1
  b.observedAt = now
  b.reportedRemaining, b.reportedResetAt, b.reportedStamp = reported, o.resetAt, o.stamp
  b.reportedWithin = o.sameWithin
  b.limit, b.remaining, b.uncertainty = limit, remaining, o.uncertainty
  b.heldUntil = otherLimit and now + o.uncertainty + HOLD_MS or nil
  b.canaryDue = false
  local liftsBlock = not b.blockedByRetryAfter or lease.observation >= b.blockObservation
  if remaining > 0 and liftsBlock then b.blockedUntil = nil end

  -- The earliest time at which the API can have counted the call. A slow answer does not extend it.
  local countedAt = math.max(lease.grantedAt, now - MAX_COUNTED_BEFORE_MS)
  local span = observationsToRemember(limit)
  b.countedUntil = now + o.uncertainty
  local alreadyCounted = Slots.takeUntil(slots, b.countedUntil)
  Slots.keepLast(slots, limit - counted)
  local returned = b.returns - lease.returns + alreadyCounted
  local unmatched = limit - counted - slots.size
  observeUncounted(b, countedAt, b.countedUntil, returned, unmatched, span)

  if o.resetAt and o.resetAt > now then
    b.resetAt = o.resetAt
    addToMax(b.periods, o.resetAt - countedAt, span)
    b.unknownReset = UNKNOWN_RESET_FIRST_MS
    b.canaryDueAt = nil
  else
    b.resetAt = nil
    if remaining > 0 then b.unknownReset = UNKNOWN_RESET_FIRST_MS end
    scheduleCanary(b, now)
  end
end

-- Applies a refusal. The margin is as in refill.ts, the forced canary as in trials.ts, the rest as in
-- backoff.ts.
local function throttled(b, slots, lease, o, now)
  if lease.trusted then
    local max = o.uncertainty + MAX_MARGIN_MS
    b.lateness = math.min(math.max(b.lateness * 2, FIRST_MARGIN_MS), max)
  end
  if lease.kind == 'canary' then b.stuck = math.min(b.stuck * 2, FORCED_MAX_MS) end
  -- Refusals of leases that were in flight at the first refusal count as the same one.
  local sameRefusal = b.blockedUntil and b.blockedAt and lease.grantedAt <= b.blockedAt
  local hasRetryAfter = o.retryAt ~= nil and o.retryAt > now
  if sameRefusal and not hasRetryAfter and b.blockedByRetryAfter then return end
  b.canaryDueAt = nil
  b.blockObservation = b.observations
  b.blockedByRetryAfter = hasRetryAfter
  if not sameRefusal then b.blockedAt = now end
  if hasRetryAfter then
    b.blockedUntil, b.throttlesInARow = o.retryAt, 0
    return
  end
  local nextReturnAt = math.min(nextSlotAt(b, slots) or HUGE, fullRefillAt(b) or HUGE)
  if nextReturnAt > now and nextReturnAt < HUGE then
    b.blockedUntil, b.throttlesInARow = nextReturnAt, 0
    return
  end
  if sameRefusal then return end
  local max = math.min(UNKNOWN_RESET_FIRST_MS * 2 ^ b.throttlesInARow, UNKNOWN_RESET_MAX_MS)
  b.throttlesInARow = math.min(b.throttlesInARow + 1, 16)
  b.blockedUntil = now + math.max(50, max * o.random)
end

-- Applies the headers of an answer. `wasInFlight`: the lease had not expired before.
local function answered(b, slots, lease, wasInFlight, o, now)
  if lease.kind == 'probe' then b.probeEvery = FIRST_REQUEST_INTERVAL_MS end
  local isThrottle = o.status == 429
  if o.remaining == nil and not isThrottle then
    if wasInFlight then headerless(b, slots, o.status, now) end
    return
  end
  if o.remaining == nil and o.resetAt == nil then
    b.window, b.remaining = 1, 0
    throttled(b, slots, lease, o, now)
    return
  end
  local resetPassed = o.resetAt ~= nil and o.resetAt <= now
  local knowsLaterReset = b.resetAt ~= nil and b.resetAt > now
  local refused = isThrottle and (o.remaining or 0) == 0
  if resetPassed and knowsLaterReset then
    -- Its numbers are stale, but its Retry-After is obeyed.
    if refused and o.retryAt and o.retryAt > now then throttled(b, slots, lease, o, now) end
    return
  end

  local unrecorded = (wasInFlight or not lease.recorded) and not isThrottle
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
    b.stuck, b.throttlesInARow = FORCED_USUAL_MS, 0
    if lease.trusted then b.lateness = b.lateness * MARGIN_DECAY end
  end
end

-- The request of this lease was not sent, so it cost nothing.
local function unsent(b, lease)
  if lease.kind == 'canary' then b.canaryDue = available(b) <= 0 end
  if lease.kind == 'probe' then b.probeAt = 0 end
end

-- The request of this lease will have no answer, so it counts as spent.
local function lost(b, slots, lease, now)
  spend(b, slots, now)
  if lease.kind == 'canary' then scheduleCanary(b, now) end
end

-- The earliest time at which `offer` may return something other than now; never infinite.
local function nextWakeAt(b, slots, now)
  local at = forcedAt(b)
  local function consider(time)
    if time and time > now and time < at then at = time end
  end
  consider(b.blockedUntil)
  consider(nextSlotAt(b, slots))
  consider(fullRefillAt(b))
  local check = checkAt(b, slots)
  if inFlight.count == 0 then consider(check) end
  consider(b.heldUntil)
  consider(b.canaryDueAt)
  if b.phase == 'unopened' then consider(b.probeAt) end
  if b.canary or b.phase ~= 'metered' or check then
    local _, grantedAt = Leases.oldest()
    consider(grantedAt and grantedAt + LEASE_MS)
  end
  return math.max(at, now)
end

-- refill.ts: nthReturnAt. Prefetched leases count as available, since they are returned when tickets
-- wait.
local function etaUnblocked(b, slots, rank, now)
  if b.phase ~= 'metered' then return nil end
  local free = math.max(0, available(b) + inFlight.prefetched)
  if rank <= free then return now end
  local refillAt = fullRefillAt(b)
  local beforeRefill = refillAt and Slots.countBefore(slots, refillAt - b.lateness) or slots.size
  local index, check = rank - free - 1, checkAt(b, slots)
  if check then
    local checked = countUncounted(b)
    if index < checked then return check end
    index = index - checked
  end
  local periods, place = math.floor(index / b.limit), index % b.limit
  local slotAt = place < beforeRefill and Slots.nth(slots, place) or nil
  local at = slotAt and slotAt + b.lateness or refillAt
  if at == nil then return nil end
  if periods == 0 then return at end
  return period(b) and at + periods * period(b)
end

-- Applies what a replica knows of the bucket by itself. `known` is as step.lua has it; `spent` are
-- those of its slots that the state lacks. A canary then tests what that makes available.
local function restore(b, slots, known, spent, now)
  for _, slot in ipairs(spent or {}) do
    if slot[1] > 0 then
      Slots.add(slots, now + slot[1], math.max(period(b) or 0, slot[1]), slot[2])
    end
  end
  local at = known.ago and now - known.ago
  if at and (not b.observedAt or at > b.observedAt) then
    b.phase, b.limit, b.remaining = 'metered', known.limit, known.remaining
    b.observations, b.observedAt = b.observations + 1, at
    b.uncertainty, b.heldUntil = known.uncertainty, now + known.uncertainty + HOLD_MS
    b.resetAt = known.resetIn and known.resetIn > 0 and now + known.resetIn or nil
    b.reportedRemaining, b.reportedStamp = known.remaining, known.stamp
    b.reportedResetAt, b.reportedWithin = b.resetAt, 0
    if known.period then addToMax(b.periods, known.period, observationsToRemember(known.limit)) end
    if not b.resetAt then scheduleCanary(b, now) end
  end
  if known.blockedFor then
    b.blockedUntil, b.blockedByRetryAfter = now + known.blockedFor, true
    b.blockObservation = b.observations
  end
  if b.phase == 'metered' then Slots.keepLast(slots, b.limit - b.remaining) end
end

-- When the rank-th waiting ticket (from 1) can expect its grant; nil when too little is known.
local function eta(b, slots, rank, now)
  local start = math.max(now, b.blockedUntil or now)
  local known = etaUnblocked(b, slots, rank, now)
  if known == nil then return b.blockedUntil and start or nil end
  return math.max(start, known)
end

return {
  LEASE_MS = LEASE_MS, MAX_EXPIRED = MAX_EXPIRED, new = new, believe = believe, restore = restore,
  period = period, available = available, spend = spend, endLease = endLease, advance = advance,
  usualOffer = usualOffer, offer = offer, trustsClock = trustsClock, noteGrant = noteGrant,
  grant = grant, answered = answered, unsent = unsent, lost = lost, nextWakeAt = nextWakeAt,
  eta = eta,
}
