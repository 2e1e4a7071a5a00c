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
--   probes    with declares: the replica only asks whether a step succeeds, and nobody is served;
--             it says later what it holds; may be absent
--   free      sockets to the API that are free at the replica
--   maxQueue  tickets that may wait
--   sheds     how many tickets of this epoch it was told are shed by others' arrival
--   belief    [limit, period] for an API that reports none; may be absent
--   known     with declares: { limit, remaining, resetIn, ago, uncertainty, stamp, period,
--             blockedFor, slots = all of its own, since = those that the lineage does not know },
--             slots being [[in, count], …]; may be absent
--   held      [[id, kind, observation, trusted, age, losses, returns], …]: leases that it declares,
--             that were offered to it and that it took, or, with the last two, that it took from stock
--   settled   [[id, kind, observation, trusted, 'answered' | 'unsent' | 'lost', observation,
--             losses, returns, age], …], the last three where it took the lease from stock
--   stock     what it has, with all that it used and that neither this step nor one before tells of
--   wants     so much more of it
--   gone      [id, …]: tickets that no longer wait
--   tickets   [[id, owner, caller, priority, weight, age, waits, how], …]
--             how: 'new', 'again' for a further attempt, or 'kept…' for one that waited already
-- ARGV[2] what the name of a replica's channel starts with
--
-- Output, JSON: { status = 'ok', lineage, revision, granted = [[id, kind, observation, trusted]],
--   shed = [[id, code, retryIn]], wakeIn, numbers, declare, recall, stock = { added, observation,
--   trusted, losses, returns } }, or nothing done and status
--   'stale'    a later step of this replica ran before this one
--   'declare'  the replica must begin a new epoch and declare what it holds
--   'layout'   the state was written by a version that keeps it differently

local MESSAGE_MS = 500
local TTL_MARGIN_MS, TTL_MAX_MS = 120000, 3600000000

-- Offers are made to other replicas only: often there are none.
local anyOffers = redis.call('ZCARD', key.offers) > 0
if anyOffers then endOffers() end
stocksEnd()
advance(b, slots, now)
-- A shed that was told of so long before and has not arrived by now is lost.
local mustDeclare = not batch.declares and batch.sheds < mine.shedsBefore
if batch.declares then
  forgetReplicas()
  if not batch.probes then discardUndeclared() end
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
if not batch.probes then stockSet(batch.stock) end
if anyOffers and not batch.probes then repeatOffers() end
-- What is being declared is not served before it is: it would count as left behind.
if not batch.declares then serve() end
for _, ticket in ipairs(batch.tickets) do arrive(unpack(ticket)) end
if not batch.probes then serve() end
local stockAdded = stockAdd(batch.wants)
stocksRecall()

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

local last = math.max(now, b.resetAt or 0, b.blockedUntil or 0, b.heldUntil or 0, b.canaryDueAt or 0,
  slots.times[#slots.times] or 0, leaseCount > 0 and now + LEASE_MS or 0) + b.lateness
-- All that is there lives until then at least. It is moved on before it comes near, and not each time;
-- and whenever somebody declares, since then replicas are forgotten and keys may have been evicted.
local isNear = batch.declares or last + TTL_MARGIN_MS / 2 > (state.livesUntil or 0)
local ttl = math.ceil(math.min(last - now + TTL_MARGIN_MS, TTL_MAX_MS))
if isNear then state.livesUntil = now + ttl end

redis.call('HSET', key.state, 'layout', LAYOUT, 'revision', revision, 'bucket', cmsgpack.pack(state))
if slots.dirty then redis.call('HSET', key.state, 'slots', slotsPack(slots)) end

for name in pairs(isNear and key or fresh) do redis.call('PEXPIRE', key[name], ttl) end

for name, message in pairs(outbox) do
  local replica = replicaOf(name)
  redis.call('PUBLISH', ARGV[2] .. name, cjson.encode({
    bucket = batch.bucket, epoch = replica.epoch, free = replica.free,
    granted = message.granted, shed = message.shed, recall = message.recall,
  }))
end

-- Where a bound ended the step, the next one goes on at once.
local isUnfinished = dropped >= MAX_DROPPED or grantsLeft <= 0
local wakeAt
if queue.size > 0 and isUnfinished then wakeAt = now
-- Where one may go already, only a socket is missing, and no time tells when that is free.
elseif queue.size > 0 and not offer(b, slots, now) then
  wakeAt = math.min(nextWakeAt(b, slots, now), stocksEndAt())
end
local lastAt = queue.size > 0 and eta(b, slots, queue.size, now) or nil
local metered = b.phase == 'metered'
local stock = state.stocks[me]
return cjson.encode({
  status = 'ok', lineage = state.lineage, revision = revision, granted = granted, shed = shed,
  declare = mustDeclare or nil, wakeIn = wakeAt and wakeAt - now or nil, free = mine.free,
  recall = stock and stock.recalled,
  stock = stock and { stockAdded, b.observations, trusts(b, now), b.losses, b.returns },
  numbers = {
    limit = metered and b.limit or nil, remaining = metered and b.remaining or nil,
    resetIn = b.resetAt and b.resetAt > now and b.resetAt - now or nil,
    blockedFor = b.blockedUntil and b.blockedUntil - now or nil,
    observedAgo = b.observedAt and now - b.observedAt or nil, uncertainty = b.uncertainty,
    period = period(b), stamp = b.reportedStamp,
    leases = leaseCount, waiting = queue.size, etaIn = lastAt and math.max(0, lastAt - now) or nil,
  },
})
