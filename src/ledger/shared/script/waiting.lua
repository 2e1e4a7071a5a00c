-- waiting: serves the tickets in the queue, and forecasts how long they wait.
--
-- Reads: the batch (see step.lua).
-- Writes: the bucket, leases, offers, the queue, and messages to replicas.
-- Returns: the table Waiting.

local MAX_DROPPED, MAX_FLOWS_SEARCHED, MAX_SEARCHED_PER_FLOW = 256, 16, 4
local UNHEARD_MS = 10000

local offer, findReplica, costOf, isTooCostly = Model.offer, Replicas.find, Grants.costOf, Grants.isTooCostly
local shed = Grants.shed

local dropped = 0
-- Whether the next ticket waits for the budget, and not for a socket.
local waitsForBudget = false
-- Whether it waits only because of the reserve, and whether it did when the tickets were served last.
local isKept, wasKept = false, state.isKept

-- Whether a waiting ticket may cost more than the limit. No ticket costs more than all extra operations
-- and one.
local function anyTooCostly()
  return Model.isTooCostly(bucket, math.max(bucket.callCost, queue.extra + 1))
end

-- How many operations all waiting tickets cost.
local function operationsWaiting()
  return queue.size * bucket.callCost + queue.extra
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

-- The first ticket in the fair order whose replica has a free socket, or that can never be granted. Returns
-- its id and the ticket; nil when there is none among the tickets searched. It drops dead tickets that it
-- finds. `isWanted`: only one for which this returns true; may be absent.
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
        Grants.record(ticket, nil, -FairQueue.useOf(ticket))
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
  Grants.record(ticket, nil, -FairQueue.useOf(ticket))
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
  updateReserve()
  while queue.size > 0 and Grants.left > 0 do
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
      Grants.record(ticket, nil, -FairQueue.useOf(ticket))
      Grants.grant(id, ticket, kind, reserved == 'used' and 'used' or isReleased and 'released' or nil)
    end
  end
  wasKept, state.isKept = isKept, isKept
end

-- When the rank-th waiting operation (from 1) can expect its grant; nil when too little is known.
-- `isInShare`: the share of its caller covers the operation.
local function eta(rank, isInShare)
  if prefetches then return Prefetch.eta(rank, isInShare) end
  local forecast = isInShare and Model.etaInShare or Model.eta
  return forecast(bucket, rank, now)
end

-- Sheds the last ticket of the longest flow, since the queue is full.
local function shedLast()
  shedWaiting(queue:last(), 'queue-full', (eta(operationsWaiting()) or now) - now)
end

-- How long a ticket would have to wait, if that is beyond its deadline; else nil.
local function tooLong(ticket)
  if ticket.deadlineAt <= now then return 0 end
  updateReserve()
  local cost = costOf(ticket)
  local last = eta(operationsWaiting() + cost)
  if not last or last <= ticket.deadlineAt then return nil end
  if batch.shares then
    local before = Shares.waitingOf(ticket)
    local at = Shares.covers(ticket, before) and (eta(before + cost, true) or now)
    if at and at <= ticket.deadlineAt then return nil end
  end
  local ahead = FairQueue.operationsAhead(queue, ticket, bucket.callCost)
  local at = ahead and eta(ahead + cost)
  return at and at > ticket.deadlineAt and at - now or nil
end

-- Whether only the reserve keeps the next ticket waiting. Then another one may be granted from it.
local function isNextKept()
  return isKept
end

-- What the reserve is for a new ticket then, as `Reserve.keeps` returns it.
local function reservedFor(ticket)
  return mayUseReserve(ticket, true) and 'used' or 'yes'
end

-- Whether the tickets wait for the budget, and not for a socket.
local function waits()
  return waitsForBudget or not offer(bucket, 1, now)
end

-- Whether a bound ended the step before all tickets were served.
local function isUnfinished()
  return dropped >= MAX_DROPPED or Grants.left <= 0
end

return {
  serve = serve, isNextKept = isNextKept, reservedFor = reservedFor, tooLong = tooLong, shedLast = shedLast, eta = eta,
  operationsWaiting = operationsWaiting, waitsForBudget = waits, isUnfinished = isUnfinished,
}
