-- offers: leases for other replicas than the one that stepped, which these have yet to confirm.
--
-- Reads: key.offers.
-- Writes: leases, the bucket and the queue.
-- Returns: the table Offers.

-- How many are ended or repeated in one step.
local MAX_OFFERS = 256

-- Adds the offers to this replica to the reply, which confirms them: their messages may be lost.
local function repeatOffers()
  for _, member in ipairs(redis.call('ZRANGE', key.offers, 0, MAX_OFFERS - 1)) do
    local replica, id = string.match(member, '^(.-)%z(.*)$')
    if replica == me then
      local lease = Leases.find(id)
      if lease then
        Leases.confirm(id, lease)
        table.insert(Grants.granted, { id, lease.kind, lease.observation, lease.trusted, lease.cost })
      end
    end
  end
end

-- Ends the offers that were not confirmed in time. The operation is available again, and the ticket
-- queues again by its age. The replica gets no more offers until it steps, since it may be asleep.
local function endOffers()
  local ended = redis.call('ZRANGEBYSCORE', key.offers, '-inf', now, 'LIMIT', 0, MAX_OFFERS)
  for _, member in ipairs(ended) do
    local id = string.match(member, '%z(.*)$')
    local lease = Leases.find(id)
    if lease then
      endLease(id, lease)
      Model.unsent(bucket, lease)
      lease.ticket.id, lease.ticket.paid = id, true
      FairQueue.addItem(queue, lease.ticket)
      Grants.record(lease.ticket, 0, FairQueue.useOf(lease.ticket))
      local replica = Replicas.find(lease.replica)
      if replica then replica.free, replica.dirty = 0, true end
    else
      -- Keys can be evicted one by one.
      redis.call('ZREM', key.offers, member)
    end
  end
end

return { repeatAll = repeatOffers, endAll = endOffers }
