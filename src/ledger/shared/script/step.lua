-- step: one atomic transition of one bucket and its queue.
--
-- A replica reports all that happened since its last step, and the reply has what concerns it. What
-- concerns other replicas is published to their channels.
--
-- KEYS: see keys.lua.
-- ARGV[1]: the batch, JSON. Every time in it is a duration in milliseconds.
--   bucket    the bucket's id, for messages to other replicas
--   replica, epoch, sequence   the replica, its epoch, and the number of this step; a new epoch
--             begins after each step whose outcome the replica does not know
--   lineage, revision          the state that the replica saw last; '' and 0 when it saw none
--   declares  true: `held`, the `kept` tickets and `known` are all that it has; what else the
--             state has of it no longer counts
--   probes    with declares: the replica only checks whether a step succeeds, and no ticket is
--             served; it declares what it holds in a later step; may be absent
--   free      free sockets to the API at the replica
--   maxQueue  how many tickets may wait
--   sheds     how many tickets of this epoch it knows to be shed by others' arrival
--   spread    which part of a limit may be kept for owners that do not wait; may be absent
--   shares    { caller: part, … }: which parts of the limit are kept for single callers; may be absent
--   belief    [limit, period] for an API that reports none; [limit, period, true] for a limit of the
--             gateway, of which no answer reports anything; may be absent
--   known     with declares: { limit, remaining, resetIn, ago, uncertainty, stamp, period,
--             blockedFor, slots = all of its own, since = those that the lineage lacks },
--             slots being [[in, count], …]; may be absent
--   held      [[id, kind, observation, trusted, cost, age, losses, returns], …]: leases that it declares,
--             that were offered to it and that it confirms, or, with the last two, that it
--             prefetched and uses
--   settled   [[id, kind, observation, trusted, cost, 'answered' | 'unsent' | 'lost' | 'renewed', observation,
--             losses, returns, age], …], the last three for prefetched leases
--   stock     how many prefetched leases it has, with those that it used and that no step reports
--   wants     how many more of them it requests
--   usedBy    [owner, priority, weight] of a call that used one of them lately; may be absent
--   gone      [id, …]: tickets that no longer wait
--   tickets   [[id, owner, caller, priority, weight, age, waits, how, cost], …]
--             how: 'new', 'again' for a retry, or 'kept', 'kept-again' for one that waited already
--   repeats   true: the state may know some of the tickets from an earlier epoch; may be absent
-- ARGV[2]: the prefix of the names of the replicas' channels
--
-- Returns: JSON, { status = 'ok', lineage, revision, granted = [[id, kind, observation, trusted, cost]],
--   (an entry has a sixth element for the reserve, see grants.lua), shed = [[id, code, retryIn]], wakeIn, free, numbers, declare, recall, stock = [added,
--   observation, trusted, losses, returns] }. A step with another status has changed nothing:
--   'stale'    a later step of this replica ran before this one
--   'declare'  the replica must begin a new epoch and declare what it holds
--   'layout'   the state was written by a version that stores it differently; `found` is its layout

-- After this long a message to a replica counts as lost.
local MESSAGE_MS = 500

local mustDeclare, prefetched

-- Apply the time that passed and the batch, in that order, then serve.
do
  -- Offers are made only to other replicas than the one that steps, so there are often none.
  local anyOffers = state.mayHaveOffers and redis.call('ZCARD', key.offers) > 0
  state.mayHaveOffers = anyOffers
  if anyOffers then Offers.endAll() end
  if prefetches then Prefetch.expire() end
  Report.expireLeases()
  Model.advance(bucket, now)
  -- By now the replica should know of these sheds. If it counts fewer, their message was lost.
  mustDeclare = not batch.declares and batch.sheds < mine.shedsBefore
  if batch.declares then
    Replicas.forget(now)
    if not batch.probes then Report.discardUndeclared() end
    mine = { epoch = batch.epoch, sheds = 0, shedsBefore = 0, shedsAt = now }
    Replicas.set(me, mine)
    local known = batch.known
    if known then
      local spent = (rebuilt or not sameLineage) and known.slots or known.since
      Model.restore(bucket, Report.toKnownBudget(known, spent), now)
    end
  end
  mine.sequence, mine.heardAt, mine.free, mine.dirty = batch.sequence, now, batch.free, true
  if batch.belief then believe(batch.belief) end
  if now - mine.shedsAt >= MESSAGE_MS then mine.shedsBefore, mine.shedsAt = mine.sheds, now end
  for _, held in ipairs(batch.held) do Report.hold(unpack(held)) end
  for _, settled in ipairs(batch.settled) do Report.settle(unpack(settled)) end
  for _, id in ipairs(batch.gone) do Report.dropTicket(id) end
  if prefetches and not batch.probes then Prefetch.set(batch.stock) end
  local usedBy = batch.usedBy
  if usedBy then Grants.used({ owner = usedBy[1], priority = usedBy[2], weight = usedBy[3] }) end
  if anyOffers and not batch.probes then Offers.repeatAll() end
  if batch.shares then Shares.update() end
  -- Tickets that this step has yet to declare would count as dead.
  if not batch.declares then Serve.serve() end
  for _, ticket in ipairs(batch.tickets) do Serve.arrive(unpack(ticket)) end
  if not batch.probes then Serve.serve() end
  if prefetches then
    prefetched = Prefetch.add(batch.wants)
    Prefetch.recall(queue.size > 0 and Waiting.waitsForBudget())
  end
end

-- What the reply reports of the tickets that still wait.
local wakeAt
if queue.size > 0 and Waiting.isUnfinished() then wakeAt = now
-- If the bucket offers a grant, only a socket is missing, and a replica reports when one is free.
elseif queue.size > 0 and Waiting.waitsForBudget() then
  local _, oldestAt = Leases.oldest()
  wakeAt = Model.nextWakeAt(bucket, oldestAt, now)
  if prefetches then wakeAt = math.min(wakeAt, Prefetch.nextExpiryAt()) end
end
local lastAt = queue.size > 0 and Waiting.eta(Waiting.operationsWaiting()) or nil
local kept = (bucket.spread > 0 or batch.shares) and Model.available(bucket) > 0
  and math.min(Model.available(bucket), Model.reserveAt(bucket, now).kept + (batch.shares and Shares.kept() or 0)) or nil

-- All keys live until state.livesUntil at least. A step extends that if it is near the last time that
-- matters, or if the replica declares: replicas may have been removed, and keys evicted.
local extends
do
  -- How long the keys outlast all that matters in time. Callers can invent buckets, so one that never
  -- learned a limit from the API gets less: as long as its tickets outlast their replica's last step.
  local TTL_MARGIN_MS, TTL_MARGIN_UNLEARNED_MS, TTL_MAX_MS = 120000, 10000, 3600000000
  local b, slots = bucket, bucket.slots
  local leasesEnd = b.inFlight > 0 and now + Model.LEASE_MS or 0
  local last = math.max(now, b.resetAt or 0, b.blockedUntil or 0, b.heldUntil or 0,
    b.canaryDueAt or 0, slots.size > 0 and slots.lastAt or 0, leasesEnd) + b.marginMs
  local margin = b.observations > 0 and TTL_MARGIN_MS or TTL_MARGIN_UNLEARNED_MS
  extends = batch.declares or last + margin / 2 > state.livesUntil
  if extends then state.livesUntil = math.min(last + margin, now + TTL_MAX_MS) end
end

-- Save what changed, set lifetimes, and publish the messages.
do
  revision = revision + 1
  if queue.isChanged then queue:save() end
  state.leases = Leases.stored.count
  local fields = Leases.save()
  Replicas.save(fields)
  local count, packedSlots = #fields, StoredSlots.save(bucket.slots)
  fields[count + 1], fields[count + 2] = 'revision', revision
  fields[count + 3], fields[count + 4] = 'state', packState()
  fields[count + 5], fields[count + 6] = 'bucket', Model.packBucket(bucket)
  if packedSlots then fields[count + 7], fields[count + 8] = 'slots', packedSlots end
  if state.isNew then redis.call('HSET', key.state, 'layout', LAYOUT) end
  redis.call('HSET', key.state, unpack(fields))
  local ttl = math.ceil(state.livesUntil - now)
  for name in pairs(extends and key or fresh) do redis.call('PEXPIRE', key[name], ttl) end
  Replicas.publish(ARGV[2], batch.bucket)
end

local b, isMetered, stock = bucket, bucket.phase == 'metered', state.stocks[me]
return cjson.encode({
  status = 'ok', lineage = state.lineage, revision = revision,
  granted = Grants.granted, shed = Grants.shed,
  declare = mustDeclare or nil, wakeIn = wakeAt and wakeAt - now or nil, free = mine.free,
  recall = stock and stock.recalled,
  stock = stock and { prefetched, b.observations, Model.trustsClock(b, now), b.losses, b.returns },
  numbers = {
    limit = isMetered and b.limit or nil, remaining = isMetered and b.remaining or nil,
    resetIn = b.resetAt and b.resetAt > now and b.resetAt - now or nil,
    blockedFor = b.blockedUntil and b.blockedUntil - now or nil,
    observedAgo = b.observedAt and now - b.observedAt or nil, uncertainty = b.uncertaintyMs,
    period = Model.periodMs(b), stamp = b.stamp,
    leases = b.inFlight, waiting = queue.size, callCost = b.callCost,
    kept = kept,
    etaIn = lastAt and math.max(0, lastAt - now) or nil,
  },
})
