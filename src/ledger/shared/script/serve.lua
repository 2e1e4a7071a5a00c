-- serve: decides which tickets are granted, which wait, and which are shed.
--
-- Reads: the batch (see step.lua).
-- Writes: the bucket, leases, offers, the queue, and messages to replicas.
-- Returns: the table Serve.

-- Grants waiting tickets, as many as the bucket, the sockets and the bounds allow.
local function serve()
  if queue.size > 0 then Waiting.serve() else state.isKept = false end
end

-- What the reserve is for a new ticket that is offered a grant, as `Reserve.keeps` returns it.
local function reservedFor(ticket, kind)
  if queue.size > 0 then return Waiting.reservedFor(ticket) end
  -- An owner alone is never kept waiting, except for callers whose shares are stated.
  return (state.owners or batch.shares) and Reserve.keeps(ticket, kind, false) or 'no'
end

-- Applies an entry of `tickets`: grants it at once, queues it, or sheds it.
local function arrive(id, owner, caller, priority, weight, age, waits, how, cost)
  if batch.repeats then
    if Leases.find(id) then return end
    local known = queue.size > 0 and queue:find(id)
    if known then
      known.epoch = batch.epoch
      queue:store(known)
      return
    end
  end
  local ticket = {
    id = id, owner = owner, caller = caller, priority = priority, weight = weight, arrivedAt = now - age,
    deadlineAt = now + waits, paid = how == 'again' or how == 'kept-again', replica = me,
    epoch = batch.epoch, cost = cost,
  }
  if Grants.isTooCostly(ticket) then
    table.insert(Grants.shed, { id, 'cost-too-high', 0 })
    return
  end
  local isFirst = queue.size > 0 and batch.shares and Shares.mayPass(ticket)
  local isFree = mine.free > 0 and Grants.left > 0 and (queue.size == 0 or isFirst or Waiting.isNextKept())
  local kind = isFree and Model.offer(bucket, Grants.costOf(ticket), now)
  local reserved = kind and (isFirst and 'used' or reservedFor(ticket, kind)) or 'yes'
  if reserved ~= 'yes' and reserved ~= 'stated' then
    return Grants.grant(id, ticket, kind, reserved == 'used' and 'used' or nil)
  end
  local isNew = how == 'new' or how == 'again'
  local waitMs = isNew and Waiting.tooLong(ticket) or nil
  if waitMs then
    table.insert(Grants.shed, { id, 'wait-too-long', waitMs })
    return
  end
  FairQueue.addItem(queue, ticket)
  Grants.record(ticket, 0, FairQueue.useOf(ticket))
  -- Declared tickets that waited before are never shed, so the queue may exceed maxQueue by them.
  if isNew and queue.size > batch.maxQueue then Waiting.shedLast() end
end

return { serve = serve, arrive = arrive }
