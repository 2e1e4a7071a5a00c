-- report: applies what a replica reports: the leases that it holds, and those that it settles.
--
-- Reads: the batch (see step.lua).
-- Writes: the bucket, its slots, leases, prefetched leases and the queue.
-- Returns: the table Report.

-- Whether the counts (observations, losses, returns) that the replica noted are of this state.
local isSameState = sameLineage and not rebuilt

-- Removes the leases that the state has as this replica's but that the replica does not declare.
local function discardUndeclared()
  local declared = {}
  for _, held in ipairs(batch.held) do declared[held[1]] = true end
  for _, settled in ipairs(batch.settled) do declared[settled[1]] = true end
  local all = redis.call('HGETALL', key.held)
  for i = 1, #all, 2 do
    local lease = cmsgpack.unpack(all[i + 1])
    if lease.replica == me and not declared[all[i]] then
      Bucket.endLease(bucket, all[i], lease)
      if not lease.expired then Bucket.unsent(bucket, lease) end
    end
  end
end

-- Removes a waiting ticket. Returns it, or nil when no ticket of that id waits.
local function dropTicket(id)
  local ticket = Queue.find(id)
  if ticket then Queue.remove(queue, id, ticket) end
  return ticket
end

-- The number of observations before a lease; -1 for a lease of another state, which precedes all.
local function observationsBefore(reported)
  return isSameState and reported or -1
end

-- Applies an entry of `held`: a lease that the replica has and that the state may lack.
local function hold(id, kind, observation, trusted, age, losses, returns)
  local lease = Leases.find(id)
  if lease then return Leases.confirm(id, lease) end
  dropTicket(id)
  if age >= Bucket.LEASE_MS then return end
  local fromPrefetch = losses and isSameState
  -- Prefetched leases that expired count as spent already. Their answers are still applied.
  if fromPrefetch and not Prefetch.use() then return end
  Leases.add(id, {
    kind = kind, grantedAt = now - age, observation = observationsBefore(observation),
    trusted = trusted, losses = fromPrefetch and losses or bucket.losses, loss = 0,
    returns = fromPrefetch and returns or bucket.returns, recorded = false, replica = me,
  })
  if kind == 'canary' then bucket.canary = bucket.canary or id end
end

-- A reported observation with its times on the step's clock.
local function toObservation(reported)
  return {
    status = reported.status, limit = reported.limit, remaining = reported.remaining,
    resetAt = reported.resetIn and now + reported.resetIn, stamp = reported.stamp,
    sameWithin = reported.sameWithin, uncertainty = reported.uncertainty,
    retryAt = reported.retryIn and now + reported.retryIn, random = reported.random,
  }
end

-- Applies an entry of `settled`.
local function settle(id, kind, observation, trusted, outcome, reported, losses, returns, age)
  -- The state lacks a prefetched lease, unless an earlier step reported it and its reply was lost.
  local lease = (not losses or batch.declares) and Leases.find(id) or nil
  local wasInFlight = lease ~= nil and not lease.expired
  if lease then
    Bucket.endLease(bucket, id, lease)
  else
    local fromPrefetch = losses and isSameState
    -- If a ticket waits in its place, the offer ended before its replica confirmed that it used it.
    if fromPrefetch then wasInFlight = Prefetch.use() else wasInFlight = dropTicket(id) ~= nil end
    lease = {
      kind = kind, grantedAt = now - (fromPrefetch and age or Bucket.LEASE_MS), trusted = trusted,
      observation = observationsBefore(observation), losses = fromPrefetch and losses or bucket.losses,
      loss = 0, returns = fromPrefetch and returns or bucket.returns, recorded = not wasInFlight,
    }
  end
  if outcome == 'answered' then
    Bucket.answered(bucket, slots, lease, wasInFlight, toObservation(reported), now)
  elseif wasInFlight and outcome == 'lost' then
    Bucket.lost(bucket, slots, lease, now)
  elseif wasInFlight then
    Bucket.unsent(bucket, lease)
  end
end

return {
  discardUndeclared = discardUndeclared, dropTicket = dropTicket, hold = hold, settle = settle,
}
