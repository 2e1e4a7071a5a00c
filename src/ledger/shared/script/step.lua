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
-- ARGV[2]: the prefix of the names of the replicas' channels
--
-- Returns: JSON, { status = 'ok', lineage, revision, granted = [[id, kind, observation, trusted, cost]],
--   (an entry has a sixth element for the reserve, see serve.lua), shed = [[id, code, retryIn]], wakeIn, free, numbers, declare, recall, stock = [added,
--   observation, trusted, losses, returns] }. A step with another status has changed nothing:
--   'stale'    a later step of this replica ran before this one
--   'declare'  the replica must begin a new epoch and declare what it holds
--   'layout'   the state was written by a version that stores it differently; `found` is its layout

-- After this long a message to a replica counts as lost.
local MESSAGE_MS = 500
-- How long the keys outlast all that matters in time. Callers can invent buckets, so one that never
-- learned a limit from the API gets less: as long as its tickets outlast their replica's last step.
local TTL_MARGIN_MS, TTL_MARGIN_UNLEARNED_MS, TTL_MAX_MS = 120000, 10000, 3600000000

local mustDeclare, prefetched

-- Apply the time that passed and the batch, in that order, then serve.
do
  -- Offers are made only to other replicas than the one that steps, so there are often none.
  local anyOffers = redis.call('ZCARD', key.offers) > 0
  if anyOffers then Serve.endOffers() end
  Prefetch.expire()
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
  local hold, settle, arrive = Report.hold, Report.settle, Serve.arrive
  for _, held in ipairs(batch.held) do hold(unpack(held)) end
  for _, settled in ipairs(batch.settled) do settle(unpack(settled)) end
  for _, id in ipairs(batch.gone) do Report.dropTicket(id) end
  if not batch.probes then Prefetch.set(batch.stock) end
  local usedBy = batch.usedBy
  if usedBy then Owners.granted({ owner = usedBy[1], priority = usedBy[2], weight = usedBy[3] }) end
  if anyOffers and not batch.probes then Serve.repeatOffers() end
  if batch.shares then Shares.update() end
  -- Tickets that this step has yet to declare would count as dead.
  if not batch.declares then Serve.serve() end
  for _, ticket in ipairs(batch.tickets) do arrive(unpack(ticket)) end
  if not batch.probes then Serve.serve() end
  prefetched = Prefetch.add(batch.wants)
  Prefetch.recall(queue.size > 0 and Serve.waitsForBudget())
end

-- Save what changed, set lifetimes, and publish the messages.
do
  revision = revision + 1
  if fresh.queue then queue:save() end
  Replicas.save()
  local b, slots = bucket, bucket.slots
  local leasesEnd = b.inFlight > 0 and now + Model.LEASE_MS or 0
  local last = math.max(now, b.resetAt or 0, b.blockedUntil or 0, b.heldUntil or 0,
    b.canaryDueAt or 0, slots.size > 0 and slots.lastAt or 0, leasesEnd) + b.marginMs
  -- All keys live until `last` at least. A step extends their lifetime only if its end is near, or if
  -- the replica declares: replicas may have been removed, and keys evicted.
  local margin = b.observations > 0 and TTL_MARGIN_MS or TTL_MARGIN_UNLEARNED_MS
  local extends = batch.declares or last + margin / 2 > (state.livesUntil or 0)
  local ttl = math.ceil(math.min(last - now + margin, TTL_MAX_MS))
  if extends then state.livesUntil = now + ttl end

  redis.call('HSET', key.state, 'layout', LAYOUT, 'revision', revision,
    'state', cmsgpack.pack(state), 'bucket', Model.packBucket(bucket))
  for name in pairs(extends and key or fresh) do redis.call('PEXPIRE', key[name], ttl) end
  Replicas.publish(ARGV[2], batch.bucket)
end

local wakeAt
if queue.size > 0 and Serve.isUnfinished() then wakeAt = now
-- If the bucket offers a grant, only a socket is missing, and a replica reports when one is free.
elseif queue.size > 0 and Serve.waitsForBudget() then
  local _, oldestAt = Leases.oldest()
  wakeAt = math.min(Model.nextWakeAt(bucket, oldestAt, now), Prefetch.nextExpiryAt())
end
local lastAt = queue.size > 0 and Prefetch.eta(Serve.operationsWaiting()) or nil
local kept = (bucket.spread > 0 or batch.shares) and Model.available(bucket) > 0
  and math.min(Model.available(bucket), Model.reserveAt(bucket, now).kept + (batch.shares and Shares.kept() or 0)) or nil
StoredSlots.save(bucket.slots)
local b, isMetered, stock = bucket, bucket.phase == 'metered', state.stocks[me]
return cjson.encode({
  status = 'ok', lineage = state.lineage, revision = revision,
  granted = Serve.granted, shed = Serve.shed,
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
