-- queue: the fair queue of one bucket, with the number of tickets ahead of another.
--
-- The Lua form of the fair queue in src/queue/. A flow's key is `owner \1 priority caller`, or
-- `owner \1 *priority` for the flow that an owner's names beyond the bound share. A ticket's place in
-- its flow is `arrival order`, both of fixed width, so that Redis keeps the order.
--
-- Records:
--   queue   { virtualTime, size, order }, stored with the bucket
--   ticket  { owner, caller, priority, weight, arrivedAt, deadlineAt, paid, replica, epoch }, and
--           { flow, member } while it waits; `paid` marks a retry
--   flow    { owner, key, finish, tag, length, named, head, active, weight }
--   owner   { named, known }: the number of its named flows, and the names used last, the least
--           recently used first; a name outlives its flow
-- Reads and writes: key.queue, key.tickets, key.active, key.idle, key.flows, key.owners, key.lengths.
--   Flows and owners are read once, and `save` writes those that changed.
-- Returns: the table Queue.

local PRIORITY_WEIGHT = { high = 100, normal = 10, low = 1 }
local NAMED_FLOWS_PER_OWNER = 13
local EPSILON = 1e-9
local MAX_IDLE_FLOWS = 4096
-- How many flows forecasts may visit, per ticket and per step. There is no forecast beyond that.
local MAX_FLOWS_VISITED, MAX_VISITED_PER_STEP = 512, 2048

local flows, changedFlows, owners = {}, {}, {}
local visited = 0

local function weightOf(ticket)
  return PRIORITY_WEIGHT[ticket.priority] * ticket.weight
end

local function sharedKey(owner, priority)
  return owner .. '\1*' .. priority
end

local function loadFlow(flowKey)
  local flow = flows[flowKey]
  if flow ~= nil then return flow end
  local packed = redis.call('HGET', key.flows, flowKey)
  flow = packed and cmsgpack.unpack(packed) or false
  flows[flowKey] = flow
  return flow
end

local function makeFlow(owner, flowKey, finish)
  local flow = { owner = owner, key = flowKey, finish = finish, tag = finish, length = 0 }
  flows[flowKey], changedFlows[flowKey] = flow, true
  return flow
end

local function loadOwner(name)
  if owners[name] == nil then
    local packed = redis.call('HGET', key.owners, name)
    owners[name] = packed and cmsgpack.unpack(packed) or false
  end
  return owners[name]
end

local function flowName(ticket)
  return ticket.priority .. ' ' .. ticket.caller
end

-- Where a name is among those that the owner used last; nil when it is not.
local function indexOf(owner, name)
  for i, known in ipairs(owner.known) do
    if known == name then return i end
  end
  return nil
end

-- Makes a name the one that its owner used last. Returns whether it was known before.
local function rememberName(owner, name)
  local at = indexOf(owner, name)
  if at then table.remove(owner.known, at) end
  table.insert(owner.known, name)
  while #owner.known > NAMED_FLOWS_PER_OWNER do table.remove(owner.known, 1) end
  return at ~= nil
end

-- The flow that an owner's names beyond the bound share, one for each priority.
local function sharedFlow(ticket)
  local flowKey = sharedKey(ticket.owner, ticket.priority)
  return loadFlow(flowKey) or makeFlow(ticket.owner, flowKey, 0)
end

local function dropFlow(flow)
  redis.call('HDEL', key.flows, flow.key)
  redis.call('ZREM', key.lengths, flow.key)
  redis.call('ZREM', key.idle, flow.key)
  flows[flow.key], changedFlows[flow.key] = false, nil
end

-- Writes the flows and owners that changed.
local function save()
  for flowKey in pairs(changedFlows) do
    local flow = flows[flowKey]
    redis.call('HSET', key.flows, flowKey, cmsgpack.pack(flow))
    if flow.length > 0 then redis.call('ZADD', key.lengths, flow.length, flowKey)
    else redis.call('ZREM', key.lengths, flowKey) end
  end
  changedFlows = {}
  for name, owner in pairs(owners) do
    if owner and owner.dirty then
      owner.dirty = nil
      redis.call('HSET', key.owners, name, cmsgpack.pack(owner))
    end
  end
end

-- The existing flow that a ticket would join; nil when it would be a new one.
local function findFlow(ticket)
  local named = loadFlow(ticket.owner .. '\1' .. flowName(ticket))
  if named then return named end
  local owner = loadOwner(ticket.owner)
  return owner and owner.named >= NAMED_FLOWS_PER_OWNER and sharedFlow(ticket) or nil
end

-- Where a new flow starts in virtual time. A name that the owner used before is not a new one.
local function startOf(queue, ticket)
  local owner = loadOwner(ticket.owner)
  if not owner or indexOf(owner, flowName(ticket)) then return queue.virtualTime end
  local shared = loadFlow(sharedKey(ticket.owner, ticket.priority))
  return math.max(queue.virtualTime, shared and shared.finish or 0)
end

-- The flow of a ticket that is about to join it, created if there is none.
local function findOrCreateFlow(queue, ticket)
  local existing = findFlow(ticket)
  if existing then
    redis.call('ZREM', key.idle, existing.key)
    return existing
  end
  local start = startOf(queue, ticket)
  local owner = loadOwner(ticket.owner) or { named = 0, known = {} }
  owners[ticket.owner] = owner
  local name = flowName(ticket)
  if not rememberName(owner, name) then
    local shared = sharedFlow(ticket)
    shared.finish = start + 1 / weightOf(ticket)
    changedFlows[shared.key] = true
    redis.call('ZADD', key.idle, 'XX', exact(shared.finish), shared.key)
  end
  owner.named, owner.dirty = owner.named + 1, true
  local flow = makeFlow(ticket.owner, ticket.owner .. '\1' .. name, start)
  flow.named = true
  return flow
end

-- The first ('head') or last ('tail') member of a flow in the sorted set of waiting tickets.
local function endMember(flow, which)
  local from, to = '[' .. flow.key .. '\0', '(' .. flow.key .. '\1'
  if which == 'head' then
    return redis.call('ZRANGEBYLEX', key.queue, from, to, 'LIMIT', 0, 1)[1]
  end
  return redis.call('ZREVRANGEBYLEX', key.queue, to, from, 'LIMIT', 0, 1)[1]
end

-- A member is flow \0 arrival (16) order (12) paid (1) id; the place is arrival and order.
local function placeAndPaid(flow, member)
  local at = #flow.key + 2
  return string.sub(member, at, at + 27), string.sub(member, at + 28, at + 28) == '1'
end

local function idOf(flow, member)
  return string.sub(member, #flow.key + 31)
end

-- The flow at a position (from 0) of the fair order; nil beyond the last.
local function flowAt(position)
  local head = redis.call('ZRANGE', key.active, position, position)[1]
  return head and loadFlow(string.sub(head, 29))
end

-- The id of a flow's first ticket.
local function headId(flow)
  return idOf(flow, flow.head)
end

-- The ids of a flow's first `count` tickets.
local function firstIds(flow, count)
  local ids = redis.call('ZRANGEBYLEX', key.queue, '[' .. flow.key .. '\0', '(' .. flow.key .. '\1',
    'LIMIT', 0, count)
  for i, member in ipairs(ids) do ids[i] = idOf(flow, member) end
  return ids
end

-- A waiting ticket by its id; nil when there is none.
local function find(id)
  local packed = redis.call('HGET', key.tickets, id)
  return packed and cmsgpack.unpack(packed) or nil
end

-- Moves a flow to its new place in the order, after its head changed.
local function headChanged(queue, flow)
  if flow.active then redis.call('ZREM', key.active, flow.active) end
  flow.active = nil
  changedFlows[flow.key] = true
  local member = flow.length > 0 and endMember(flow, 'head')
  if not member then return end
  local place, paid = placeAndPaid(flow, member)
  flow.tag = paid and queue.virtualTime or math.max(queue.virtualTime, flow.finish)
  flow.weight = weightOf(find(idOf(flow, member)))
  flow.head = member
  -- The set orders equal tags by member, that is by the place of their heads.
  flow.active = place .. flow.key
  redis.call('ZADD', key.active, exact(flow.tag), flow.active)
end

-- Whether a flow is among the idle ones. It adds 0 to the score of that flow, because ZSCORE would be
-- one more command that the server's user must be allowed.
local function isIdle(flow)
  return redis.call('ZADD', key.idle, 'XX', 'INCR', 0, flow.key)
end

local function forgetFlow(queue, flow)
  local name = flow.owner
  local owner = loadOwner(name)
  if flow.named and owner then
    owner.named, owner.dirty = owner.named - 1, true
    dropFlow(flow)
  end
  if owner and owner.named > 0 then return end
  local isAhead = false
  local shared = {}
  for priority in pairs(PRIORITY_WEIGHT) do
    shared[#shared + 1] = loadFlow(sharedKey(name, priority)) or nil
  end
  for _, each in ipairs(shared) do
    local dropped = each == flow or each.finish <= queue.virtualTime
    if each.length > 0 or not dropped then
      -- A shared flow that was dropped before another one of its owner's stays dropped: else they
      -- could replace each other without end.
      if each.length > 0 or flow.named or isIdle(each) then
        isAhead = true
        if each.length == 0 then redis.call('ZADD', key.idle, exact(each.finish), each.key) end
      end
    end
  end
  if isAhead then return end
  redis.call('HDEL', key.owners, name)
  owners[name] = false
  for _, each in ipairs(shared) do dropFlow(each) end
end

-- Forgets a flow that became empty, unless it is ahead of its share.
local function onEmpty(queue, flow)
  if queue.size == 0 then
    redis.call('DEL', key.idle, key.owners, key.flows, key.active, key.lengths)
    flows, changedFlows, owners = {}, {}, {}
    return
  end
  if flow.finish > queue.virtualTime then redis.call('ZADD', key.idle, exact(flow.finish), flow.key)
  else forgetFlow(queue, flow) end
  -- An owner's last named flow leaves up to three shared ones, which are dropped after it.
  while redis.call('ZCARD', key.idle) > MAX_IDLE_FLOWS do
    local first = redis.call('ZPOPMIN', key.idle)[1]
    forgetFlow(queue, loadFlow(first))
  end
end

-- Forgets the empty flows that are no longer ahead of virtual time.
local function forgetIdle(queue)
  while true do
    local to = exact(queue.virtualTime)
    local first = redis.call('ZRANGEBYSCORE', key.idle, '-inf', to, 'LIMIT', 0, 1)[1]
    if not first then break end
    redis.call('ZREM', key.idle, first)
    forgetFlow(queue, loadFlow(first))
  end
end

-- Marks the queue's keys as fresh: this step may empty one, which deletes it, and create it again.
local function markFresh()
  if fresh.queue then return end
  for _, name in ipairs({ 'queue', 'tickets', 'active', 'idle', 'flows', 'owners', 'lengths' }) do
    fresh[name] = true
  end
end

-- Adds a ticket to its flow by the time of its arrival.
local function add(queue, id, ticket)
  markFresh()
  local flow = findOrCreateFlow(queue, ticket)
  queue.order = queue.order + 1
  ticket.flow, ticket.taken = flow.key, nil
  ticket.member = flow.key .. '\0' .. string.format('%016.0f%012.0f%d', ticket.arrivedAt * 1000,
    queue.order, ticket.paid and 1 or 0) .. id
  redis.call('HSET', key.tickets, id, cmsgpack.pack(ticket))
  redis.call('ZADD', key.queue, 0, ticket.member)
  flow.length = flow.length + 1
  changedFlows[flow.key] = true
  queue.size = queue.size + 1
  if not flow.active or ticket.member < flow.head then headChanged(queue, flow) end
end

-- Removes a ticket, wherever it stands, at no cost to its flow.
local function remove(queue, id, ticket)
  markFresh()
  local flow = loadFlow(ticket.flow)
  redis.call('ZREM', key.queue, ticket.member)
  redis.call('HDEL', key.tickets, id)
  flow.length = flow.length - 1
  changedFlows[flow.key] = true
  queue.size = queue.size - 1
  if flow.head == ticket.member or ticket.taken then headChanged(queue, flow) end
  if flow.length == 0 then onEmpty(queue, flow) end
end

-- Removes the ticket whose ticket it is, and charges its flow.
local function take(queue, id, ticket)
  local flow = loadFlow(ticket.flow)
  queue.virtualTime = math.max(queue.virtualTime, flow.tag)
  if not ticket.paid then flow.finish = flow.tag + 1 / weightOf(ticket) end
  ticket.taken = true
  remove(queue, id, ticket)
  forgetIdle(queue)
end

-- The id of the longest flow's last ticket, which is shed when the queue is full.
local function last()
  save()
  local flow = loadFlow(redis.call('ZREVRANGE', key.lengths, 0, 0)[1])
  return idOf(flow, endMember(flow, 'tail'))
end

-- Reads the flows that were not read before, with one command.
local function loadFlows(flowKeys)
  local missing = {}
  for _, flowKey in ipairs(flowKeys) do
    if flows[flowKey] == nil then missing[#missing + 1] = flowKey end
  end
  if #missing == 0 then return end
  local packed = redis.call('HMGET', key.flows, unpack(missing))
  for i, flowKey in ipairs(missing) do
    flows[flowKey] = packed[i] and cmsgpack.unpack(packed[i]) or false
  end
end

-- How many waiting tickets would be ahead of `ticket` if it joined now; nil when that would visit too
-- many flows.
local function ahead(queue, ticket)
  local own = findFlow(ticket)
  local start
  if not own then start = startOf(queue, ticket)
  else start = math.max(queue.virtualTime, own.length > 0 and own.tag or own.finish) end
  local length = own and own.length or 0
  local tag = start + length / weightOf(ticket)
  if visited >= MAX_VISITED_PER_STEP then return nil end
  local heads = redis.call('ZRANGEBYSCORE', key.active, '-inf', exact(tag + EPSILON),
    'LIMIT', 0, MAX_FLOWS_VISITED)
  visited = visited + #heads
  if #heads == MAX_FLOWS_VISITED then return nil end
  local flowKeys = {}
  for i, head in ipairs(heads) do flowKeys[i] = string.sub(head, 29) end
  loadFlows(flowKeys)
  local count = length
  for _, flowKey in ipairs(flowKeys) do
    local flow = flows[flowKey]
    if not own or flowKey ~= own.key then
      local shares = math.floor((tag - flow.tag) * flow.weight + EPSILON) + 1
      count = count + math.min(flow.length, shares)
    end
  end
  return count
end

return {
  save = save, flowAt = flowAt, headId = headId, firstIds = firstIds, find = find, add = add,
  remove = remove, take = take, last = last, ahead = ahead,
}
