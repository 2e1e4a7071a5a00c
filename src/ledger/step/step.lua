-- step: one atomic transition of one bucket and its queue. A replica hands in all that happened to
-- it since its last step, and gets back what concerns it; what concerns other replicas is published
-- to their channels.
--
-- KEYS    see keys.lua
-- ARGV[1] the batch, JSON. Every time in it is a duration in milliseconds.
--   bucket    the bucket's id, for messages to other replicas
--   replica, epoch, sequence   who, since which of its interruptions, and which step of it
--   lineage, revision          the state that the replica saw last; '' and 0 when it saw none
--   declares  true: `held`, `kept` tickets and `known` are all that it has; nothing else counts
--   free      sockets to the API that are free at the replica
--   maxQueue  tickets that may wait
--   sheds     how many tickets of this epoch it was told are shed by others' arrival
--   belief    [limit, period] for an API that reports none; may be absent
--   known     with declares: { limit, remaining, resetIn, ago, uncertainty, stamp, period,
--             blockedFor, slots = all of its own, since = those that the lineage does not know },
--             slots being [[in, count], …]; may be absent
--   held      [[id, kind, observation, trusted, age], …]: leases that it declares, or that were
--             offered to it and that it took
--   settled   [[id, kind, observation, trusted, 'answered' | 'unsent' | 'lost', observation], …]
--   gone      [id, …]: tickets that no longer wait
--   tickets   [[id, owner, caller, priority, weight, age, waits, how], …]
--             how: 'new', 'again' for a further attempt, or 'kept…' for one that waited already
-- ARGV[2] what the name of a replica's channel starts with
--
-- Output, JSON: { status = 'ok', lineage, revision, granted = [[id, kind, observation, trusted]],
--   shed = [[id, code, retryIn]], wakeIn, numbers, declare }, or nothing done and status
--   'stale'    a later step of this replica ran before this one
--   'declare'  the replica must begin a new epoch and declare what it holds
--   'layout'   the state was written by a version that keeps it differently

local LAYOUT = 1
-- Grants of one step; each ticket that comes in with it takes away a third of one.
local MAX_GRANTED = 128
local MAX_DROPPED, MAX_OFFERS, MAX_HEADS, MAX_LOOK_AHEAD = 256, 256, 16, 4
local UNHEARD_MS, FORGOTTEN_MS, MESSAGE_MS = 10000, 600000, 500
local TTL_MARGIN_MS, TTL_MAX_MS = 120000, 3600000000

local batch = cjson.decode(ARGV[1])
local me = batch.replica

local layout, packedRevision, packedBucket, packedSlots =
  unpack(redis.call('HMGET', key.state, 'layout', 'revision', 'bucket', 'slots'))
if layout and tonumber(layout) ~= LAYOUT then
  return cjson.encode({ status = 'layout', found = tonumber(layout) or 0 })
end
local revision = tonumber(packedRevision or 0)
local state = packedBucket and cmsgpack.unpack(packedBucket)

-- Replicas, read when they are needed and written at the end.
local replicas = {}
local function replicaOf(name)
  if replicas[name] == nil then
    local packed = redis.call('HGET', key.replicas, name)
    replicas[name] = packed and cmsgpack.unpack(packed) or false
  end
  return replicas[name]
end

-- At most once, and only on the state that the replica knows.
local mine = replicaOf(me)
if mine and (batch.epoch < mine.epoch
    or (batch.epoch == mine.epoch and batch.sequence <= mine.sequence)) then
  return cjson.encode({ status = 'stale' })
end
local sameLineage = state and state.lineage == batch.lineage
local wentBack = sameLineage and batch.revision > revision
if not batch.declares and (not mine or mine.epoch ~= batch.epoch or mine.dropped
    or not sameLineage or wentBack) then
  return cjson.encode({ status = 'declare' })
end

-- A clock that goes back is made to stand still, by an offset that stays.
local now = serverTime()
if state then
  now = now + state.clockShift
  if now < state.clock then
    state.clockShift = state.clockShift + state.clock - now
    now = state.clock
  end
end

local rebuilt = wentBack or not state
if not state then
  state = {
    clockShift = 0,
    bucket = bucketNew(now, batch.belief),
    queue = { virtualTime = 0, size = 0, order = 0 },
  }
end
if rebuilt then state.lineage = me .. ':' .. batch.epoch end
state.clock = now
local b, queue = state.bucket, state.queue
local slots = packedSlots and not rebuilt and slotsFrom(cmsgpack.unpack(packedSlots)) or slotsEmpty()

local granted, shed, outbox = {}, {}, {}
local grantsLeft = MAX_GRANTED - math.floor(#batch.tickets / 3)

local function messageFor(replica)
  local message = outbox[replica]
  if not message then
    message = { granted = {}, shed = {} }
    outbox[replica] = message
  end
  return message
end

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
    if known.period then periodAdd(b, known.period, math.max(64, 2 * known.limit)) end
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

local function dropTicket(id)
  local ticket = ticketFind(id)
  if ticket then queueRemove(queue, id, ticket) end
  return ticket
end

-- Observations are counted within a lineage; a lease from another is older than all of them.
local function numberOf(observation)
  return sameLineage and not rebuilt and observation or -1
end

local function hold(id, kind, observation, trusted, age)
  local lease = leaseFind(id)
  if lease then return leaseConfirm(id, lease) end
  dropTicket(id)
  if age >= LEASE_MS then return end
  leaseAdd(id, {
    kind = kind, grantedAt = now - age, observation = numberOf(observation), trusted = trusted,
    losses = b.losses, loss = 0, recorded = false, replica = me,
  })
  if kind == 'canary' then b.canary = b.canary or id end
end

local function observationOf(said)
  return {
    status = said.status, limit = said.limit, remaining = said.remaining,
    resetAt = said.resetIn and now + said.resetIn, stamp = said.stamp,
    sameWithin = said.sameWithin, uncertainty = said.uncertainty,
    retryAt = said.retryIn and now + said.retryIn, chance = said.chance,
  }
end

local function settle(id, kind, observation, trusted, outcome, said)
  local lease = leaseFind(id)
  local wasOut = lease ~= nil and not lease.expired
  if lease then
    endLease(b, id, lease)
  else
    -- An offer that ended before its replica could say that it took it did cost its slot.
    wasOut = dropTicket(id) ~= nil
    lease = {
      kind = kind, grantedAt = now - LEASE_MS, observation = numberOf(observation),
      trusted = trusted, losses = b.losses, loss = 0, recorded = not wasOut,
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

local function grantNow(id, ticket)
  grantsLeft = grantsLeft - 1
  local replica = replicaOf(ticket.replica)
  replica.free, replica.dirty = replica.free - 1, true
  local lease = grant(b, now, id, ticket.replica)
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
  while queue.size > 0 and grantsLeft > 0 and offer(b, now) do
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
  if isFree and offer(b, now) then return grantNow(id, ticket) end
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

-- The transition.
endOffers()
advance(b, slots, now)
-- A shed that was told of so long before and has not arrived by now is lost.
local mustDeclare = not batch.declares and batch.sheds < mine.shedsBefore
if batch.declares then
  forgetReplicas()
  discardUndeclared()
  mine = { epoch = batch.epoch, sheds = 0, shedsBefore = 0, shedsAt = now }
  replicas[me] = mine
  if batch.known then takeKnown(batch.known) end
end
mine.sequence, mine.heardAt, mine.free, mine.dirty = batch.sequence, now, batch.free, true
if batch.belief then believe(b, slots, batch.belief) end
if now - mine.shedsAt >= MESSAGE_MS then mine.shedsBefore, mine.shedsAt = mine.sheds, now end
for _, held in ipairs(batch.held) do hold(unpack(held)) end
for _, settled in ipairs(batch.settled) do settle(unpack(settled)) end
for _, id in ipairs(batch.gone) do dropTicket(id) end
repeatOffers()
-- What is being declared is not served before it is: it would count as left behind.
if not batch.declares then serve() end
for _, ticket in ipairs(batch.tickets) do arrive(unpack(ticket)) end
serve()

-- What is left for later: save, set the lifetime, tell.
revision = revision + 1
flowsSave()
for name, replica in pairs(replicas) do
  if replica and replica.dirty then
    replica.dirty = nil
    redis.call('HSET', key.replicas, name, cmsgpack.pack(replica))
  end
end
state.bucket, state.queue = b, queue
redis.call('HSET', key.state, 'layout', LAYOUT, 'revision', revision, 'bucket', cmsgpack.pack(state))
if slots.dirty then redis.call('HSET', key.state, 'slots', slotsPack(slots)) end

local last = math.max(now, b.resetAt or 0, b.blockedUntil or 0, b.heldUntil or 0, b.canaryDueAt or 0,
  slots.times[#slots.times] or 0, leaseCount > 0 and now + LEASE_MS or 0)
local ttl = math.ceil(math.min(last - now + b.lateness + TTL_MARGIN_MS, TTL_MAX_MS))
for _, name in pairs(key) do redis.call('PEXPIRE', name, ttl) end

for name, message in pairs(outbox) do
  local replica = replicaOf(name)
  redis.call('PUBLISH', ARGV[2] .. name, cjson.encode({
    bucket = batch.bucket, epoch = replica.epoch, free = replica.free,
    granted = message.granted, shed = message.shed,
  }))
end

-- Where a bound ended the step, the next one goes on at once.
local isUnfinished = dropped >= MAX_DROPPED or grantsLeft <= 0
local wakeAt = queue.size > 0 and (isUnfinished and now or nextWakeAt(b, slots, now))
local lastAt = queue.size > 0 and eta(b, slots, queue.size, now) or nil
local metered = b.phase == 'metered'
return cjson.encode({
  status = 'ok', lineage = state.lineage, revision = revision, granted = granted, shed = shed,
  declare = mustDeclare or nil, wakeIn = wakeAt and wakeAt - now or nil, free = mine.free,
  numbers = {
    limit = metered and b.limit or nil, remaining = metered and b.remaining or nil,
    resetIn = b.resetAt and b.resetAt > now and b.resetAt - now or nil,
    blockedFor = b.blockedUntil and b.blockedUntil - now or nil,
    observedAgo = b.observedAt and now - b.observedAt or nil, uncertainty = b.uncertainty,
    period = period(b), stamp = b.reportedStamp,
    leases = leaseCount, waiting = queue.size, etaIn = lastAt and math.max(0, lastAt - now) or nil,
  },
})
