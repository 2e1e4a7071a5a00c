-- report: applies what a replica reports: the leases that it holds, and those that it settles.
--
-- Reads: the batch (see step.lua).
-- Writes: the bucket, leases, prefetched leases and the queue.
-- Returns: the table Report.

-- How many leases may expire in one step. The others stay in flight until the next, which is safe.
local MAX_EXPIRED = 256

-- Whether the counts (observations, losses, returns) that the replica noted are of this state.
local isSameState = sameLineage and not rebuilt

-- Counts the leases as spent that have had no answer for too long. Their late answers still count.
local function expireLeases()
  for _ = 1, MAX_EXPIRED do
    local id, grantedAt = Leases.oldest()
    if not id or grantedAt + Model.LEASE_MS > now then return end
    local lease = Leases.find(id)
    if lease then
      Leases.remove(id, lease)
      Model.expireLease(bucket, lease, now)
      Leases.expire(id, lease, now)
    else
      -- Keys can be evicted one by one.
      Leases.forget(id)
      bucket.inFlight, bucket.extraInFlight = bucket.inFlight - 1, Leases.extra()
      Model.countLost(bucket, 1, now)
    end
  end
end

-- Removes the leases that the state has as this replica's but that the replica does not declare.
local function discardUndeclared()
  local declared = {}
  for _, held in ipairs(batch.held) do declared[held[1]] = true end
  for _, settled in ipairs(batch.settled) do declared[settled[1]] = true end
  Leases.each(function(id, lease)
    if lease.replica == me and not declared[id] then
      endLease(id, lease)
      if not lease.expired then Model.unsent(bucket, lease) end
    end
  end)
end

-- Removes a waiting ticket. Returns it, or nil when no ticket of that id waits.
local function dropTicket(id)
  local ticket = queue.size > 0 and queue:find(id) or nil
  if ticket then
    FairQueue.removeItem(queue, ticket)
    Grants.record(ticket, nil, -FairQueue.useOf(ticket))
  end
  return ticket
end

-- The number of observations before a lease; -1 for a lease of another state, which precedes all.
local function observationsBefore(reported)
  return isSameState and reported or -1
end

-- Applies an entry of `held`: a lease that the replica has and that the state may lack.
local function hold(id, kind, observation, trusted, cost, age, losses, returns)
  local lease = Leases.find(id)
  if lease then return Leases.confirm(id, lease) end
  dropTicket(id)
  if age >= Model.LEASE_MS then return end
  local fromPrefetch = losses and isSameState
  -- Prefetched leases that expired count as spent already. Their answers are still applied.
  if fromPrefetch and not Prefetch.use() then return end
  Leases.add(id, {
    kind = kind, cost = cost, grantedAt = now - age, observation = observationsBefore(observation),
    trusted = trusted, losses = fromPrefetch and losses or bucket.losses, loss = 0,
    returns = fromPrefetch and returns or bucket.returns, recorded = false, replica = me,
  })
  Model.addLease(bucket, cost)
  if kind == 'canary' then bucket.canaryAt = bucket.canaryAt or now - age end
end

-- What a replica knows of the bucket by itself, with its times on the step's clock. `spent` are those
-- of its slots that the state lacks.
local function toKnownBudget(known, spent)
  local slots = {}
  for i, slot in ipairs(spent or {}) do slots[i] = { now + slot[1], slot[2] } end
  return {
    reported = known.ago and {
      limit = known.limit, remaining = known.remaining, at = now - known.ago,
      resetAt = known.resetIn and now + known.resetIn, uncertaintyMs = known.uncertainty,
      periodMs = known.period, stamp = known.stamp, callCost = known.callCost,
    },
    blockedUntil = known.blockedFor and now + known.blockedFor,
    slots = slots,
  }
end

-- A reported observation with its times on the step's clock.
local function toObservation(reported)
  return {
    status = reported.status, limit = reported.limit, remaining = reported.remaining,
    cost = reported.cost,
    resetAt = reported.resetIn and now + reported.resetIn, basis = 'delay', stamp = reported.stamp,
    sameWithinMs = reported.sameWithin, uncertaintyMs = reported.uncertainty,
    retryAt = reported.retryIn and now + reported.retryIn, receivedAt = now,
  }
end

-- The jitter that the replica drew for the answer that is applied.
local jitter = 0
local function random()
  return jitter
end

-- Applies an entry of `settled`.
local function settle(id, kind, observation, trusted, cost, outcome, reported, losses, returns, age)
  -- The state lacks a prefetched lease, unless an earlier step reported it and its reply was lost.
  local lease = (not losses or batch.declares) and Leases.find(id) or nil
  local wasInFlight = lease ~= nil and not lease.expired
  if lease then
    endLease(id, lease)
  else
    local fromPrefetch = losses and isSameState
    -- If a ticket waits in its place, the offer ended before its replica confirmed that it used it.
    if fromPrefetch then wasInFlight = Prefetch.use() else wasInFlight = dropTicket(id) ~= nil end
    lease = {
      kind = kind, cost = cost, grantedAt = now - (fromPrefetch and age or Model.LEASE_MS),
      trusted = trusted,
      observation = observationsBefore(observation), losses = fromPrefetch and losses or bucket.losses,
      loss = 0, returns = fromPrefetch and returns or bucket.returns, recorded = not wasInFlight,
    }
  end
  if outcome == 'answered' then
    jitter = reported.random or 0
    Model.answered(bucket, lease, wasInFlight, toObservation(reported), now, random)
  elseif wasInFlight and outcome == 'lost' then
    Model.lost(bucket, lease, now)
  elseif wasInFlight and outcome == 'renewed' then
    Model.renewed(bucket, lease)
  elseif wasInFlight then
    Model.unsent(bucket, lease)
  end
end

return {
  expireLeases = expireLeases, discardUndeclared = discardUndeclared, dropTicket = dropTicket,
  toKnownBudget = toKnownBudget, hold = hold, settle = settle,
}
