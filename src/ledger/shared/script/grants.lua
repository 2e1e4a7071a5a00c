-- grants: grants operations to tickets.
--
-- Writes: the bucket, leases, offers, and messages to replicas.
-- Returns: the table Grants. Its lists `granted` and `shed` are for the reply; `left` is how many grants
--   this step may still give.

local granted, shed = {}, {}
local Grants = { granted = granted, shed = shed, left = MAX_GRANTED - math.floor(#batch.tickets / 3) }

-- How many operations a ticket costs.
local function costOf(ticket)
  return ticket.cost or bucket.callCost
end

local function isTooCostly(ticket)
  return Model.isTooCostly(bucket, costOf(ticket))
end

-- Records what the owner of a ticket used now, and what its queued tickets will use. `use` is nil when it
-- made no request.
local function record(ticket, use, queued)
  if batch.shares then Shares.countWaiting(ticket, use and 1 or -1) end
  local sole = state.sole
  if sole and sole[1] == ticket.owner then
    -- What an owner used alone took nothing from another one.
    sole[2], sole[3] = use and now or sole[2], math.max(0, sole[3] + queued)
  elseif batch.spread ~= 0 then
    Owners.record(ticket.owner, use, queued)
  end
end

-- Records that a ticket of this owner was granted.
local function used(ticket)
  if batch.shares then Shares.granted(ticket) end
  local sole = state.sole
  if sole and sole[1] == ticket.owner then sole[2] = now
  elseif batch.spread ~= 0 then Owners.granted(ticket) end
end

-- Grants a ticket; `kind` is what the model offers. `reserve` is 'used' if that is an operation of the
-- reserve, 'released' if the reserve kept the ticket waiting until now, or nil.
local function grant(id, ticket, kind, reserve)
  Grants.left = Grants.left - 1
  local replica = Replicas.find(ticket.replica)
  replica.free, replica.dirty = replica.free - 1, true
  local lease = {
    kind = kind, cost = costOf(ticket), grantedAt = now, observation = bucket.observations, losses = bucket.losses,
    returns = bucket.returns, trusted = Model.trustsClock(bucket, now), loss = 0, recorded = false,
    replica = ticket.replica,
  }
  Leases.add(id, lease)
  Model.addLease(bucket, lease.cost)
  Model.granted(bucket, kind, now)
  used(ticket)
  local entry = { id, lease.kind, lease.observation, lease.trusted, lease.cost, reserve }
  if ticket.replica == me then
    table.insert(granted, entry)
  else
    Leases.offer(id, lease, ticket, now)
    state.mayHaveOffers = true
    table.insert(Replicas.messageTo(ticket.replica).granted, entry)
  end
end

Grants.costOf, Grants.isTooCostly, Grants.record, Grants.used, Grants.grant =
  costOf, isTooCostly, record, used, grant
return Grants
