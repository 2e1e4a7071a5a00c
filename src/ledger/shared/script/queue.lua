-- Whose turn it is: core/fair-queue.ts and core/flows-by-owner.ts in Lua. A flow's key is
-- `owner \1 priority caller`, or `owner \1 *priority` for the flow that an owner's surplus names
-- share. A ticket's place in its flow is `arrival order`, both of fixed width, so that Redis keeps
-- the order.

local PRIORITY_WEIGHT = { high = 100, normal = 10, low = 1 }
local NAMED_FLOWS_PER_OWNER = 13
local EPSILON = 1e-9
local MAX_IDLE_FLOWS = 4096
-- Flows looked at in forecasts, per ticket and per step; beyond them no forecast is made.
local MAX_FLOWS_WALKED, MAX_WALKED_PER_STEP = 512, 2048

local flowCache, flowDirty = {}, {}
local ownerCache = {}
local walked = 0

local function weightOf(ticket)
  return PRIORITY_WEIGHT[ticket.priority] * ticket.weight
end

local function sharedKey(owner, priority)
  return owner .. '\1*' .. priority
end

local function flowLoad(flowKey)
  local flow = flowCache[flowKey]
  if flow ~= nil then return flow end
  local packed = redis.call('HGET', key.flows, flowKey)
  flow = packed and cmsgpack.unpack(packed) or false
  flowCache[flowKey] = flow
  return flow
end

local function flowMake(owner, flowKey, finish)
  local flow = { owner = owner, key = flowKey, finish = finish, tag = finish, length = 0 }
  flowCache[flowKey], flowDirty[flowKey] = flow, true
  return flow
end

-- An owner's record: how many named flows it has, and the names that it used last, the longest
-- unused first. A flow is forgotten sooner than its name.
local function ownerLoad(name)
  if ownerCache[name] == nil then
    local packed = redis.call('HGET', key.owners, name)
    ownerCache[name] = packed and cmsgpack.unpack(packed) or false
  end
  return ownerCache[name]
end

local function flowName(turn)
  return turn.priority .. ' ' .. turn.caller
end

local function knows(owner, name)
  for i, known in ipairs(owner.known) do
    if known == name then return i end
  end
  return nil
end

-- Says whether the name was known; it is now.
local function recognise(owner, name)
  local at = knows(owner, name)
  if at then table.remove(owner.known, at) end
  table.insert(owner.known, name)
  while #owner.known > NAMED_FLOWS_PER_OWNER do table.remove(owner.known, 1) end
  return at ~= nil
end

-- The flow that an owner's surplus names of one priority share.
local function sharedOf(turn)
  local flowKey = sharedKey(turn.owner, turn.priority)
  return flowLoad(flowKey) or flowMake(turn.owner, flowKey, 0)
end

local function flowDrop(flow)
  redis.call('HDEL', key.flows, flow.key)
  redis.call('ZREM', key.lengths, flow.key)
  redis.call('ZREM', key.idle, flow.key)
  flowCache[flow.key], flowDirty[flow.key] = false, nil
end

local function flowsSave()
  for flowKey in pairs(flowDirty) do
    local flow = flowCache[flowKey]
    redis.call('HSET', key.flows, flowKey, cmsgpack.pack(flow))
    if flow.length > 0 then redis.call('ZADD', key.lengths, flow.length, flowKey)
    else redis.call('ZREM', key.lengths, flowKey) end
  end
  flowDirty = {}
  for name, owner in pairs(ownerCache) do
    if owner and owner.dirty then
      owner.dirty = nil
      redis.call('HSET', key.owners, name, cmsgpack.pack(owner))
    end
  end
end

-- The flow that a ticket would join if it exists already.
local function flowExisting(turn)
  local named = flowLoad(turn.owner .. '\1' .. flowName(turn))
  if named then return named end
  local owner = ownerLoad(turn.owner)
  return owner and owner.named >= NAMED_FLOWS_PER_OWNER and sharedOf(turn) or nil
end

-- Where a flow would start that is not remembered. A name that was here before is no new one.
local function startOf(queue, turn)
  local owner = ownerLoad(turn.owner)
  if not owner or knows(owner, flowName(turn)) then return queue.virtualTime end
  local shared = flowLoad(sharedKey(turn.owner, turn.priority))
  return math.max(queue.virtualTime, shared and shared.finish or 0)
end

local function flowFor(queue, ticket)
  local existing = flowExisting(ticket)
  if existing then
    redis.call('ZREM', key.idle, existing.key)
    return existing
  end
  local start = startOf(queue, ticket)
  local owner = ownerLoad(ticket.owner) or { named = 0, known = {} }
  ownerCache[ticket.owner] = owner
  local name = flowName(ticket)
  if not recognise(owner, name) then
    local shared = sharedOf(ticket)
    shared.finish = start + 1 / weightOf(ticket)
    flowDirty[shared.key] = true
    redis.call('ZADD', key.idle, 'XX', exact(shared.finish), shared.key)
  end
  owner.named, owner.dirty = owner.named + 1, true
  local flow = flowMake(ticket.owner, ticket.owner .. '\1' .. name, start)
  flow.named = true
  return flow
end

-- The first (or last) member of a flow in the sorted set of waiting tickets.
local function flowEnd(flow, which)
  local from, to = '[' .. flow.key .. '\0', '(' .. flow.key .. '\1'
  if which == 'head' then return redis.call('ZRANGEBYLEX', key.queue, from, to, 'LIMIT', 0, 1)[1] end
  return redis.call('ZREVRANGEBYLEX', key.queue, to, from, 'LIMIT', 0, 1)[1]
end

-- A member is flow \0 arrival (16) order (12) paid (1) id.
local function memberParts(flow, member)
  local at = #flow.key + 2
  return string.sub(member, at, at + 27), string.sub(member, at + 28, at + 28) == '1',
    string.sub(member, at + 29)
end

local function ticketFind(id)
  local packed = redis.call('HGET', key.tickets, id)
  return packed and cmsgpack.unpack(packed) or nil
end

local function headChanged(queue, flow)
  if flow.active then redis.call('ZREM', key.active, flow.active) end
  flow.active = nil
  flowDirty[flow.key] = true
  local member = flow.length > 0 and flowEnd(flow, 'head')
  if not member then return end
  local place, paid, id = memberParts(flow, member)
  flow.tag = paid and queue.virtualTime or math.max(queue.virtualTime, flow.finish)
  flow.weight = weightOf(ticketFind(id))
  flow.head = member
  -- Equal tags go by the heads' places, as the set's order has it.
  flow.active = place .. flow.key
  redis.call('ZADD', key.active, exact(flow.tag), flow.active)
end

local function flowForget(queue, flow)
  local name = flow.owner
  local owner = ownerLoad(name)
  if flow.named and owner then
    owner.named, owner.dirty = owner.named - 1, true
    flowDrop(flow)
  end
  if owner and owner.named > 0 then return end
  local isAhead = false
  local shared = {}
  for priority in pairs(PRIORITY_WEIGHT) do
    shared[#shared + 1] = flowLoad(sharedKey(name, priority)) or nil
  end
  for _, each in ipairs(shared) do
    local dropped = each == flow or each.finish <= queue.virtualTime
    if each.length > 0 or not dropped then
      isAhead = true
      if each.length == 0 then redis.call('ZADD', key.idle, exact(each.finish), each.key) end
    end
  end
  if isAhead then return end
  redis.call('HDEL', key.owners, name)
  ownerCache[name] = false
  for _, each in ipairs(shared) do flowDrop(each) end
end

-- An empty flow is remembered only while it is ahead of its share.
local function flowRest(queue, flow)
  if queue.size == 0 then
    redis.call('DEL', key.idle, key.owners, key.flows, key.active, key.lengths)
    flowCache, flowDirty, ownerCache = {}, {}, {}
  elseif flow.finish > queue.virtualTime then
    redis.call('ZADD', key.idle, exact(flow.finish), flow.key)
    -- Each is dropped for good, an owner's shared one after its last named one.
    while redis.call('ZCARD', key.idle) > MAX_IDLE_FLOWS do
      local first = redis.call('ZPOPMIN', key.idle)[1]
      flowForget(queue, flowLoad(first))
    end
  else
    flowForget(queue, flow)
  end
end

local function forgetIdle(queue)
  while true do
    local first = redis.call('ZRANGEBYSCORE', key.idle, '-inf', exact(queue.virtualTime), 'LIMIT', 0, 1)[1]
    if not first then break end
    redis.call('ZREM', key.idle, first)
    flowForget(queue, flowLoad(first))
  end
end

-- What was emptied may be made anew.
local function freshQueue()
  if fresh.queue then return end
  for _, name in ipairs({ 'queue', 'tickets', 'active', 'idle', 'flows', 'owners', 'lengths' }) do
    fresh[name] = true
  end
end

-- Puts a ticket into its flow by the time of its arrival.
local function queueAdd(queue, id, ticket)
  freshQueue()
  local flow = flowFor(queue, ticket)
  queue.order = queue.order + 1
  ticket.flow, ticket.taken = flow.key, nil
  ticket.member = flow.key .. '\0' .. string.format('%016.0f%012.0f%d', ticket.arrivedAt * 1000,
    queue.order, ticket.paid and 1 or 0) .. id
  redis.call('HSET', key.tickets, id, cmsgpack.pack(ticket))
  redis.call('ZADD', key.queue, 0, ticket.member)
  flow.length = flow.length + 1
  flowDirty[flow.key] = true
  queue.size = queue.size + 1
  if not flow.active or ticket.member < flow.head then headChanged(queue, flow) end
end

-- Takes a ticket out, wherever it stands, at no cost to its flow.
local function queueRemove(queue, id, ticket)
  freshQueue()
  local flow = flowLoad(ticket.flow)
  redis.call('ZREM', key.queue, ticket.member)
  redis.call('HDEL', key.tickets, id)
  flow.length = flow.length - 1
  flowDirty[flow.key] = true
  queue.size = queue.size - 1
  if flow.head == ticket.member or ticket.taken then headChanged(queue, flow) end
  if flow.length == 0 then flowRest(queue, flow) end
end

-- Takes out the ticket whose turn it is, and charges its flow.
local function queueTake(queue, id, ticket)
  local flow = flowLoad(ticket.flow)
  queue.virtualTime = math.max(queue.virtualTime, flow.tag)
  if not ticket.paid then flow.finish = flow.tag + 1 / weightOf(ticket) end
  ticket.taken = true
  queueRemove(queue, id, ticket)
  forgetIdle(queue)
end

-- The last ticket of the longest flow: who leaves when the queue is full.
local function queueLast()
  flowsSave()
  local flow = flowLoad(redis.call('ZREVRANGE', key.lengths, 0, 0)[1])
  local _, _, id = memberParts(flow, flowEnd(flow, 'tail'))
  return id
end

-- Reads all of these flows at once that were not read before.
local function flowsLoad(flowKeys)
  local missing = {}
  for _, flowKey in ipairs(flowKeys) do
    if flowCache[flowKey] == nil then missing[#missing + 1] = flowKey end
  end
  if #missing == 0 then return end
  local packed = redis.call('HMGET', key.flows, unpack(missing))
  for i, flowKey in ipairs(missing) do
    flowCache[flowKey] = packed[i] and cmsgpack.unpack(packed[i]) or false
  end
end

-- How many waiting tickets would go before `turn`; nil when that would take too long to find out.
local function queueAhead(queue, turn)
  local own = flowExisting(turn)
  local start
  if not own then start = startOf(queue, turn)
  else start = math.max(queue.virtualTime, own.length > 0 and own.tag or own.finish) end
  local length = own and own.length or 0
  local tag = start + length / weightOf(turn)
  if walked >= MAX_WALKED_PER_STEP then return nil end
  local heads = redis.call('ZRANGEBYSCORE', key.active, '-inf', exact(tag + EPSILON),
    'LIMIT', 0, MAX_FLOWS_WALKED)
  walked = walked + #heads
  if #heads == MAX_FLOWS_WALKED then return nil end
  local flowKeys = {}
  for i, head in ipairs(heads) do flowKeys[i] = string.sub(head, 29) end
  flowsLoad(flowKeys)
  local count = length
  for _, flowKey in ipairs(flowKeys) do
    local flow = flowCache[flowKey]
    if not own or flowKey ~= own.key then
      local shares = math.floor((tag - flow.tag) * flow.weight + EPSILON) + 1
      count = count + math.min(flow.length, shares)
    end
  end
  return count
end
