-- serve: decides which tickets are granted, which wait, and which are shed.
--
-- Reads: the batch (see step.lua).
-- Writes: the bucket, leases, offers, the queue, and messages to replicas.
-- Returns: the table Serve. Its lists `granted` and `shed` are for the reply.

local MAX_DROPPED, MAX_OFFERS, MAX_FLOWS_SEARCHED, MAX_SEARCHED_PER_FLOW = 256, 256, 16, 4
local UNHEARD_MS = 10000

local offer, findReplica = Model.offer, Replicas.find

local granted, shed = {}, {}
local grantsLeft = MAX_GRANTED - math.floor(#batch.tickets / 3)
local dropped = 0
-- Whether the next ticket waits for the budget, and not for a socket.
local waitsForBudget = false
-- Whether it waits only because of the reserve, and whether it did when the tickets were served last.
local isKept, wasKept = false, state.isKept

-- How many operations a ticket costs.
local function costOf(ticket)
  return ticket.cost or bucket.callCost
end

local function isTooCostly(ticket)
  return Model.isTooCostly(bucket, costOf(ticket))
end

-- Whether a waiting ticket may cost more than the limit. No ticket costs more than all extra operations
-- and one.
local function anyTooCostly()
  return Model.isTooCostly(bucket, math.max(bucket.callCost, queue.extra + 1))
end

-- How many operations all waiting tickets cost.
local function operationsWaiting()
  return queue.size * bucket.callCost + queue.extra
end

-- Grants a ticket; `kind` is what the model offers. `reserve` is 'used' if that is an operation of the
-- reserve, 'released' if the reserve kept the ticket waiting until now, or nil.
local function grantNow(id, ticket, kind, reserve)
  grantsLeft = grantsLeft - 1
  local replica = findReplica(ticket.replica)
  replica.free, replica.dirty = replica.free - 1, true
  local lease = {
    kind = kind, cost = costOf(ticket), grantedAt = now, observation = bucket.observations, losses = bucket.losses,
    returns = bucket.returns, trusted = Model.trustsClock(bucket, now), loss = 0, recorded = false,
    replica = ticket.replica,
  }
  Leases.add(id, lease)
  Model.addLease(bucket, lease.cost)
  Model.granted(bucket, kind, now)
  Owners.granted(ticket)
  local entry = { id, lease.kind, lease.observation, lease.trusted, lease.cost, reserve }
  if ticket.replica == me then
    table.insert(granted, entry)
  else
    Leases.offer(id, lease, ticket, now)
    table.insert(Replicas.messageTo(ticket.replica).granted, entry)
  end
end

-- Whether a ticket belongs to an epoch that has ended, or to a replica that has not stepped for long.
local function isDead(ticket)
  local replica = findReplica(ticket.replica)
  if not replica or replica.epoch ~= ticket.epoch then return true end
  if now - replica.heardAt <= UNHEARD_MS then return false end
  replica.dropped, replica.dirty = true, true
  return true
end

-- Whether a ticket may be granted from the reserve. `isNew`: it is not queued.
local function mayUseReserve(ticket, isNew)
  return Model.mayKeep(bucket, offer(bucket, costOf(ticket), now)) and Reserve.mayUse(ticket, not isNew)
end

-- The id of the first ticket in the fair order whose replica has a free socket, or that can never be
-- granted, and the ticket; nil when there is none among the tickets searched. It drops dead tickets that
-- it finds. `isWanted`: only one for which this returns true; may be absent.
local function nextTicket(isWanted)
  local position = 0
  while position < MAX_FLOWS_SEARCHED do
    local flow = queue:flowAt(position)
    if not flow then return nil end
    local id, ids, i = queue:headId(flow), nil, 1
    local alive = true
    while alive and id do
      local ticket = queue:find(id)
      if isWanted and not isWanted(ticket) then break end
      if isDead(ticket) then
        if dropped >= MAX_DROPPED then return nil end
        dropped = dropped + 1
        FairQueue.removeItem(queue, ticket)
        Owners.unqueued(ticket)
        alive = false
      elseif findReplica(ticket.replica).free > 0 or isTooCostly(ticket) then
        return id, ticket
      elseif i == 1 then
        ids = queue:firstIds(flow, MAX_SEARCHED_PER_FLOW)
      end
      i = i + 1
      id = ids and ids[i]
    end
    -- A dropped ticket changes the order: search again from the start.
    position = alive and position + 1 or 0
  end
  return nil
end

-- Removes a waiting ticket, and reports to its replica why.
local function shedWaiting(ticket, code, waitMs)
  FairQueue.removeItem(queue, ticket)
  Owners.unqueued(ticket)
  if isDead(ticket) then return end
  local entry = { ticket.id, code, math.max(0, waitMs) }
  if ticket.replica == me then
    table.insert(shed, entry)
  else
    local replica = findReplica(ticket.replica)
    replica.sheds, replica.dirty = replica.sheds + 1, true
    table.insert(Replicas.messageTo(ticket.replica).shed, entry)
  end
end

-- Brings up to date whether there is a reserve. The owners for whom something is kept may be others by
-- now, but while nothing is available that makes no difference.
local function updateReserve()
  if state.owners and Model.available(bucket) > 0 then Reserve.update() end
end

-- Grants waiting tickets in the fair order, as many as the bucket, the sockets and the bounds allow.
-- Tickets that turn out to cost more than the limit are shed when it is their turn.
local function serve()
  local isReleased = wasKept
  waitsForBudget, isKept = false, false
  if queue.size > 0 then updateReserve() end
  while queue.size > 0 and grantsLeft > 0 do
    waitsForBudget = not offer(bucket, 1, now)
    if waitsForBudget and not anyTooCostly() then break end
    local id, ticket = nextTicket()
    if not id then break end
    if isTooCostly(ticket) then
      if dropped >= MAX_DROPPED then break end
      dropped = dropped + 1
      shedWaiting(ticket, 'cost-too-high', 0)
    else
      if batch.shares and Shares.mayBePassed(costOf(ticket)) then
        local firstId, first = nextTicket(Shares.covers)
        if firstId then id, ticket = firstId, first end
      end
      local kind = offer(bucket, costOf(ticket), now)
      local reserved = kind and (state.owners or batch.shares) and Reserve.keeps(ticket, kind, true) or 'no'
      if (reserved == 'yes' or reserved == 'after-modest') and Reserve.mayBeUsed() then
        local modestId, modest = nextTicket(mayUseReserve)
        if modestId then
          id, ticket, reserved = modestId, modest, reserved == 'yes' and 'used' or 'no'
          kind = offer(bucket, costOf(ticket), now)
        end
      end
      isKept = reserved == 'yes' or reserved == 'stated'
      waitsForBudget = not kind or isKept
      if waitsForBudget then break end
      FairQueue.takeItem(queue, ticket)
      Owners.unqueued(ticket)
      grantNow(id, ticket, kind, reserved == 'used' and 'used' or isReleased and 'released' or nil)
    end
  end
  wasKept, state.isKept = isKept, isKept or nil
end

-- Sheds the last ticket of the longest flow, since the queue is full.
local function shedLast()
  shedWaiting(queue:last(), 'queue-full', (Prefetch.eta(operationsWaiting()) or now) - now)
end

-- How long a ticket would have to wait, if that is beyond its deadline; else nil.
local function tooLong(ticket)
  if ticket.deadlineAt <= now then return 0 end
  updateReserve()
  local cost = costOf(ticket)
  local last = Prefetch.eta(operationsWaiting() + cost)
  if not last or last <= ticket.deadlineAt then return nil end
  if batch.shares then
    local before = Shares.waitingOf(ticket)
    local at = Shares.covers(ticket, before) and (Prefetch.eta(before + cost, true) or now)
    if at and at <= ticket.deadlineAt then return nil end
  end
  local ahead = FairQueue.operationsAhead(queue, ticket, bucket.callCost)
  local at = ahead and Prefetch.eta(ahead + cost)
  return at and at > ticket.deadlineAt and at - now or nil
end

-- What the reserve is for a new ticket that is offered a grant, as `Reserve.keeps` returns it.
local function reservedFor(ticket, kind)
  -- While the reserve keeps the next ticket waiting, another one may be granted only from it.
  if queue.size > 0 then return mayUseReserve(ticket, true) and 'used' or 'yes' end
  -- An owner alone is never kept waiting, except for callers whose shares are stated.
  return (state.owners or batch.shares) and Reserve.keeps(ticket, kind, false) or 'no'
end

-- Applies an entry of `tickets`: grants it at once, queues it, or sheds it.
local function arrive(id, owner, caller, priority, weight, age, waits, how, cost)
  if Leases.find(id) then return end
  local known = queue.size > 0 and queue:find(id)
  if known then
    known.epoch, known.id = batch.epoch, nil
    redis.call('HSET', key.tickets, id, cmsgpack.pack(known))
    return
  end
  local ticket = {
    id = id, owner = owner, caller = caller, priority = priority, weight = weight, arrivedAt = now - age,
    deadlineAt = now + waits, paid = how == 'again' or how == 'kept-again', replica = me,
    epoch = batch.epoch, cost = cost,
  }
  if isTooCostly(ticket) then
    table.insert(shed, { id, 'cost-too-high', 0 })
    return
  end
  local isFirst = queue.size > 0 and batch.shares and Shares.mayPass(ticket)
  local isFree = (queue.size == 0 or isKept or isFirst) and mine.free > 0 and grantsLeft > 0
  local kind = isFree and offer(bucket, costOf(ticket), now)
  local reserved = kind and (isFirst and 'used' or reservedFor(ticket, kind)) or 'yes'
  if reserved ~= 'yes' and reserved ~= 'stated' then return grantNow(id, ticket, kind, reserved == 'used' and 'used' or nil) end
  local isNew = how == 'new' or how == 'again'
  local waitMs = isNew and tooLong(ticket) or nil
  if waitMs then
    table.insert(shed, { id, 'wait-too-long', waitMs })
    return
  end
  FairQueue.addItem(queue, ticket)
  Owners.queued(ticket)
  -- Declared tickets that waited before are never shed, so the queue may exceed maxQueue by them.
  if isNew and queue.size > batch.maxQueue then shedLast() end
end

-- Adds the offers to this replica to the reply, which confirms them: their messages may be lost.
local function repeatOffers()
  for _, member in ipairs(redis.call('ZRANGE', key.offers, 0, MAX_OFFERS - 1)) do
    local replica, id = string.match(member, '^(.-)%z(.*)$')
    if replica == me then
      local lease = Leases.find(id)
      if lease then
        Leases.confirm(id, lease)
        table.insert(granted, { id, lease.kind, lease.observation, lease.trusted, lease.cost })
      end
    end
  end
end

-- Ends the offers that were not confirmed in time. The operation is available again, and the ticket
-- queues again by its age. The replica gets no more offers until it steps, since it may be asleep.
local function endOffers()
  local ended = redis.call('ZRANGEBYSCORE', key.offers, '-inf', exact(now), 'LIMIT', 0, MAX_OFFERS)
  for _, member in ipairs(ended) do
    local id = string.match(member, '%z(.*)$')
    local lease = Leases.find(id)
    if lease then
      endLease(id, lease)
      Model.unsent(bucket, lease)
      lease.ticket.id, lease.ticket.paid = id, true
      FairQueue.addItem(queue, lease.ticket)
      Owners.queued(lease.ticket)
      local replica = findReplica(lease.replica)
      if replica then replica.free, replica.dirty = 0, true end
    else
      -- Keys can be evicted one by one.
      redis.call('ZREM', key.offers, member)
    end
  end
end

-- Whether the tickets wait for the budget, and not for a socket.
local function waits()
  return waitsForBudget or not offer(bucket, 1, now)
end

-- Whether a bound ended the step before all tickets were served.
local function isUnfinished()
  return dropped >= MAX_DROPPED or grantsLeft <= 0
end

return {
  granted = granted, shed = shed, serve = serve, arrive = arrive, repeatOffers = repeatOffers,
  endOffers = endOffers, operationsWaiting = operationsWaiting, waitsForBudget = waits, isUnfinished = isUnfinished,
}
