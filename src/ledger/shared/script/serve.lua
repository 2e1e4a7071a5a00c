-- Who is granted, who waits, and who is shed.

local MAX_DROPPED, MAX_OFFERS, MAX_HEADS, MAX_LOOK_AHEAD = 256, 256, 16, 4
local UNHEARD_MS = 10000

local function grantNow(id, ticket)
  grantsLeft = grantsLeft - 1
  local replica = replicaOf(ticket.replica)
  replica.free, replica.dirty = replica.free - 1, true
  local lease = grant(b, slots, now, id, ticket.replica)
  local entry = { id, lease.kind, lease.observation, lease.trusted }
  if ticket.replica == me then
    table.insert(granted, entry)
  else
    leaseOffer(id, lease, ticket, now)
    table.insert(messageFor(ticket.replica).granted, entry)
  end
end

-- A replica that paused, died, or began anew no longer speaks for the tickets it left here.
local function isDead(ticket)
  local replica = replicaOf(ticket.replica)
  if not replica or replica.epoch ~= ticket.epoch then return true end
  if now - replica.heardAt <= UNHEARD_MS then return false end
  replica.dropped, replica.dirty = true, true
  return true
end

local dropped = 0

-- The next ticket in the fair order whose replica has a socket for it.
local function nextTicket()
  local position = 0
  while position < MAX_HEADS do
    local head = redis.call('ZRANGE', key.active, position, position)[1]
    if not head then return nil end
    local flow = flowLoad(string.sub(head, 29))
    local members = { flow.head }
    local i = 1
    local alive = true
    while alive and members[i] do
      local _, _, id = memberParts(flow, members[i])
      local ticket = ticketFind(id)
      if isDead(ticket) then
        if dropped >= MAX_DROPPED then return nil end
        dropped = dropped + 1
        queueRemove(queue, id, ticket)
        alive = false
      elseif replicaOf(ticket.replica).free > 0 then
        return id, ticket
      elseif i == 1 then
        members = redis.call('ZRANGEBYLEX', key.queue, '[' .. flow.key .. '\0',
          '(' .. flow.key .. '\1', 'LIMIT', 0, MAX_LOOK_AHEAD)
      end
      i = i + 1
    end
    -- After a death the order is another: look again from the start.
    position = alive and position + 1 or 0
  end
  return nil
end

local function serve()
  while queue.size > 0 and grantsLeft > 0 and offer(b, slots, now) do
    local id, ticket = nextTicket()
    if not id then break end
    queueTake(queue, id, ticket)
    grantNow(id, ticket)
  end
end

local function shedLast()
  local id = queueLast()
  local ticket = ticketFind(id)
  local at = eta(b, slots, queue.size, now) or now
  queueRemove(queue, id, ticket)
  if isDead(ticket) then return end
  local entry = { id, 'queue-full', math.max(0, at - now) }
  if ticket.replica == me then
    table.insert(shed, entry)
  else
    local replica = replicaOf(ticket.replica)
    replica.sheds, replica.dirty = replica.sheds + 1, true
    table.insert(messageFor(ticket.replica).shed, entry)
  end
end

-- How long a ticket would have to wait where that is too long for it.
local function tooLong(ticket)
  if ticket.deadlineAt <= now then return 0 end
  local last = eta(b, slots, queue.size + 1, now)
  if not last or last <= ticket.deadlineAt then return nil end
  local ahead = queueAhead(queue, ticket)
  local at = ahead and eta(b, slots, ahead + 1, now)
  return at and at > ticket.deadlineAt and at - now or nil
end

local function arrive(id, owner, caller, priority, weight, age, waits, how)
  if leaseFind(id) then return end
  local known = ticketFind(id)
  if known then
    known.epoch = batch.epoch
    redis.call('HSET', key.tickets, id, cmsgpack.pack(known))
    return
  end
  local ticket = {
    owner = owner, caller = caller, priority = priority, weight = weight, arrivedAt = now - age,
    deadlineAt = now + waits, paid = how == 'again' or how == 'kept-again', replica = me,
    epoch = batch.epoch,
  }
  local isFree = queue.size == 0 and mine.free > 0 and grantsLeft > 0
  if isFree and offer(b, slots, now) then return grantNow(id, ticket) end
  local isNew = how == 'new' or how == 'again'
  local waitMs = isNew and tooLong(ticket) or nil
  if waitMs then
    table.insert(shed, { id, 'wait-too-long', waitMs })
    return
  end
  queueAdd(queue, id, ticket)
  -- Whoever waited already stays, so replicas that come back can overfill it by what they bring.
  if isNew and queue.size > batch.maxQueue then shedLast() end
end

-- Offers to this replica that it has not taken yet: a message may have been lost.
local function repeatOffers()
  for _, member in ipairs(redis.call('ZRANGE', key.offers, 0, MAX_OFFERS - 1)) do
    local replica, id = string.match(member, '^(.-)%z(.*)$')
    if replica == me then
      local lease = leaseFind(id)
      leaseConfirm(id, lease)
      table.insert(granted, { id, lease.kind, lease.observation, lease.trusted })
    end
  end
end

-- Offers that nobody took in time: the slot is free again, and the ticket keeps its place by age.
-- Nothing more is offered to their replica until it steps: it may be asleep, and others are not.
local function endOffers()
  local ended = redis.call('ZRANGEBYSCORE', key.offers, '-inf', exact(now), 'LIMIT', 0, MAX_OFFERS)
  for _, member in ipairs(ended) do
    local id = string.match(member, '%z(.*)$')
    local lease = leaseFind(id)
    endLease(b, id, lease)
    unsent(b, lease)
    lease.ticket.paid = true
    queueAdd(queue, id, lease.ticket)
    local replica = replicaOf(lease.replica)
    if replica then replica.free, replica.dirty = 0, true end
  end
end
