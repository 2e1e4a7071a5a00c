-- What a replica says of its leases and of what it knows: declared, confirmed, settled.

local FORGOTTEN_MS = 600000

-- Once the bucket is known to be as full as it is, its own rule decides; before, one canary goes.
local function takeKnown(known)
  local all = (rebuilt or not sameLineage) and known.slots or known.since
  for _, slot in ipairs(all or {}) do
    if slot[1] > 0 then
      slotsAdd(slots, now + slot[1], math.max(period(b) or 0, slot[1]), slot[2])
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
    if known.period then largestAdd(b.periods, known.period, observationsToRemember(known.limit)) end
    if not b.resetAt then canaryLater(b, now) end
  end
  if known.blockedFor then
    b.blockedUntil, b.blockedByRetryAfter = now + known.blockedFor, true
    b.blockObservation = b.observations
  end
  if b.phase == 'metered' then slotsKeepLast(slots, b.limit - b.remaining) end
end

-- What this replica holds by the state and does not hold by its own word never was.
local function discardUndeclared()
  local declared = {}
  for _, held in ipairs(batch.held) do declared[held[1]] = true end
  for _, settled in ipairs(batch.settled) do declared[settled[1]] = true end
  local all = redis.call('HGETALL', key.held)
  for i = 1, #all, 2 do
    local lease = cmsgpack.unpack(all[i + 1])
    if lease.replica == me and not declared[all[i]] then
      endLease(b, all[i], lease)
      if not lease.expired then unsent(b, lease) end
    end
  end
end

local function forgetReplicas()
  local all = redis.call('HGETALL', key.replicas)
  for i = 1, #all, 2 do
    local replica = cmsgpack.unpack(all[i + 1])
    if now - replica.heardAt > FORGOTTEN_MS then redis.call('HDEL', key.replicas, all[i]) end
  end
end

local function dropTicket(id)
  local ticket = ticketFind(id)
  if ticket then queueRemove(queue, id, ticket) end
  return ticket
end

-- Observations are counted within a lineage; a lease from another is older than all of them.
local function numberOf(observation)
  return sameLineage and not rebuilt and observation or -1
end

-- Whether marks that a replica had of the state are about this one.
local function isOurs(marks)
  return marks and sameLineage and not rebuilt
end

local function hold(id, kind, observation, trusted, age, losses, returns)
  local lease = leaseFind(id)
  if lease then return leaseConfirm(id, lease) end
  dropTicket(id)
  if age >= LEASE_MS then return end
  local ours = isOurs(losses)
  -- Of a stock that ended all counts as spent; what it was used for is an answer's to tell.
  if ours and not stockUse() then return end
  leaseAdd(id, {
    kind = kind, grantedAt = now - age, observation = numberOf(observation), trusted = trusted,
    losses = ours and losses or b.losses, loss = 0, returns = ours and returns or b.returns,
    recorded = false, replica = me,
  })
  if kind == 'canary' then b.canary = b.canary or id end
end

local function observationOf(said)
  return {
    status = said.status, limit = said.limit, remaining = said.remaining,
    resetAt = said.resetIn and now + said.resetIn, stamp = said.stamp,
    sameWithin = said.sameWithin, uncertainty = said.uncertainty,
    retryAt = said.retryIn and now + said.retryIn, random = said.random,
  }
end

local function settle(id, kind, observation, trusted, outcome, said, losses, returns, age)
  -- What comes from stock is told of for the first time, unless a step told of it that is void.
  local lease = (not losses or batch.declares) and leaseFind(id) or nil
  local wasOut = lease ~= nil and not lease.expired
  if lease then
    endLease(b, id, lease)
  else
    local ours = isOurs(losses)
    -- An offer that ended before its replica could say that it took it did cost its slot.
    if ours then wasOut = stockUse() else wasOut = dropTicket(id) ~= nil end
    lease = {
      kind = kind, grantedAt = now - (ours and age or LEASE_MS), trusted = trusted,
      observation = numberOf(observation), losses = ours and losses or b.losses, loss = 0,
      returns = ours and returns or b.returns, recorded = not wasOut,
    }
  end
  if outcome == 'answered' then
    answered(b, slots, lease, wasOut, observationOf(said), now)
  elseif wasOut and outcome == 'lost' then
    lost(b, slots, lease, now)
  elseif wasOut then
    unsent(b, lease)
  end
end
