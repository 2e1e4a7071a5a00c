-- stored-queue: the data of the bucket's fair queue in Redis, whose order fair-queue.lua decides.
--
-- A flow's key is `owner \1 priority caller`, or `owner \1 *priority` for the flow that the further
-- names of an owner share. A ticket's place in its flow is `arrival order`, both of fixed width,
-- so that Redis keeps the order.
--
-- Records, each packed as its values:
--   ticket  { owner, caller, priority, weight, cost, arrivedAt, deadlineAt, paid, replica, epoch }, and
--           { flow, member } while it waits; `cost` is absent where it is 1. `id` is not stored with it
--   flow    { owner, key, finish, tag, weight, length, extra, named }, and { head, active }: the members
--           of its head and of its own in key.queue and key.active; `storedLength`, its length in
--           key.lengths, is not stored with it
--   owner   { named, known }; `name` and `isChanged` are not stored
-- Reads and writes: key.queue, key.tickets, key.active, key.idle, key.flows, key.owners, key.lengths.
--   Flows and owners are read once, and `save` writes those that changed.
-- Returns: the methods of the queue: those of FairQueue in src/queue/flow.ts, and what the step needs
--   besides: save, find, store, last, flowAt, headId, firstIds. The queue is the record state.queue,
--   { virtualTime, size, extra, order, idle, isChanged }; `idle` is how many empty flows are remembered,
--   and the last is not stored.

-- How many flows forecasts may visit, per ticket and per step. There is no forecast beyond that.
local MAX_FLOWS_VISITED, MAX_VISITED_PER_STEP = 512, 2048

local flows, changedFlows, owners = {}, {}, {}
local visited = 0
-- How many of the tickets that waited before this step still wait, at least; nil before the first change.
local stillThere

-- Makes a flow of what is stored; false when nothing is.
local function toFlow(packed)
  if not packed then return false end
  local owner, flowKey, finish, tag, weight, length, extra, named, head, active = cmsgpack.unpack(packed)
  return {
    owner = owner, key = flowKey, finish = finish, tag = tag, weight = weight, length = length,
    extra = extra, named = named, head = head, active = active, storedLength = length,
  }
end

local function loadFlow(flowKey)
  local flow = flows[flowKey]
  if flow == nil then
    flow = toFlow(redis.call('HGET', key.flows, flowKey))
    flows[flowKey] = flow
  end
  return flow or nil
end

-- Writes the flows and owners that changed.
local function save(queue)
  queue.isChanged = false
  local fields, lengths = {}, {}
  for flowKey in pairs(changedFlows) do
    local flow = flows[flowKey]
    fields[#fields + 1] = flowKey
    fields[#fields + 1] = cmsgpack.pack(flow.owner, flowKey, flow.finish, flow.tag, flow.weight, flow.length,
      flow.extra, flow.named, flow.head, flow.active)
    if flow.length == 0 then
      redis.call('ZREM', key.lengths, flowKey)
    elseif flow.length ~= flow.storedLength then
      lengths[#lengths + 1] = flow.length
      lengths[#lengths + 1] = flowKey
    end
    flow.storedLength = flow.length
  end
  if #fields > 0 then redis.call('HSET', key.flows, unpack(fields)) end
  if #lengths > 0 then redis.call('ZADD', key.lengths, unpack(lengths)) end
  changedFlows = {}
  for name, owner in pairs(owners) do
    if owner and owner.isChanged then
      owner.isChanged = nil
      redis.call('HSET', key.owners, name, cmsgpack.pack(owner.named, owner.known))
    end
  end
end

-- The members of a flow's first `count` tickets.
local function firstMembers(flow, count)
  return redis.call('ZRANGEBYLEX', key.queue, '[' .. flow.key .. '\0', '(' .. flow.key .. '\1',
    'LIMIT', 0, count)
end

-- A ticket's time of arrival, in a member.
local function arrival(ticket)
  return string.format('%016.0f', ticket.arrivedAt * 1000)
end

-- A member is flow \0 arrival (16) order (12) paid (1) id.
local function idOf(flow, member)
  return string.sub(member, #flow.key + 31)
end

-- A waiting ticket by its id; nil when there is none.
local function find(id)
  local packed = redis.call('HGET', key.tickets, id)
  if not packed then return nil end
  local owner, caller, priority, weight, cost, arrivedAt, deadlineAt, paid, replica, epoch, flow, member =
    cmsgpack.unpack(packed)
  return {
    id = id, owner = owner, caller = caller, priority = priority, weight = weight, cost = cost,
    arrivedAt = arrivedAt, deadlineAt = deadlineAt, paid = paid, replica = replica, epoch = epoch,
    flow = flow, member = member,
  }
end

local function store(ticket)
  redis.call('HSET', key.tickets, ticket.id, cmsgpack.pack(ticket.owner, ticket.caller, ticket.priority,
    ticket.weight, ticket.cost, ticket.arrivedAt, ticket.deadlineAt, ticket.paid, ticket.replica,
    ticket.epoch, ticket.flow, ticket.member))
end

-- Marks the queue as changed, and its keys as fresh if this step may create them: they exist while a
-- ticket waits.
local function markChanged(queue)
  queue.isChanged = true
  if stillThere > 0 or fresh.queue then return end
  for _, name in ipairs({ 'queue', 'tickets', 'active', 'flows', 'owners', 'lengths' }) do
    fresh[name] = true
  end
end

-- What few steps need: those that add or remove a flow or forecast, and those whose queue is full.
local function rare()
  local function makeFlow(owner, flowKey, finish, named)
    local flow = {
      owner = owner.name, key = flowKey, finish = finish, tag = finish, weight = 1, length = 0, extra = 0,
      named = named,
    }
    flows[flowKey], changedFlows[flowKey] = flow, true
    return flow
  end

  local function sharedKey(owner, priority)
    return owner.name .. '\1*' .. priority
  end

  local function findOwner(name)
    local owner = owners[name]
    if owner == nil then
      local packed = redis.call('HGET', key.owners, name)
      if packed then
        local named, known = cmsgpack.unpack(packed)
        owner = { name = name, named = named, known = known }
      end
      owners[name] = owner or false
    end
    return owner or nil
  end

  -- Removes a flow from those that are remembered while they are empty.
  local function removeIdle(queue, flow)
    if queue.idle > 0 then queue.idle = queue.idle - redis.call('ZREM', key.idle, flow.key) end
  end

  -- Removes an empty flow.
  local function removeFlow(queue, flow)
    redis.call('HDEL', key.flows, flow.key)
    redis.call('ZREM', key.lengths, flow.key)
    removeIdle(queue, flow)
    flows[flow.key], changedFlows[flow.key] = false, nil
  end

  -- Reads the flows that were not read before, with one command.
  local function loadFlows(flowKeys)
    local missing = {}
    for _, flowKey in ipairs(flowKeys) do
      if flows[flowKey] == nil then missing[#missing + 1] = flowKey end
    end
    if #missing == 0 then return end
    local packed = redis.call('HMGET', key.flows, unpack(missing))
    for i, flowKey in ipairs(missing) do flows[flowKey] = toFlow(packed[i]) end
  end

  return {
    findOwner = function(_, name)
      return findOwner(name)
    end,
    makeOwner = function(_, name)
      local owner = { name = name, named = 0, known = {} }
      owners[name] = owner
      return owner
    end,
    dropOwner = function(self, owner)
      for _, priority in ipairs({ 'high', 'normal', 'low' }) do
        local shared = loadFlow(sharedKey(owner, priority))
        if shared then removeFlow(self, shared) end
      end
      redis.call('HDEL', key.owners, owner.name)
      owners[owner.name] = false
    end,
    sharedFlow = function(_, owner, priority)
      return loadFlow(sharedKey(owner, priority))
    end,
    makeNamedFlow = function(_, owner, ticket, finish)
      owner.isChanged = true
      local flowKey = ticket.owner .. '\1' .. ticket.priority .. ' ' .. ticket.caller
      return makeFlow(owner, flowKey, finish, true)
    end,
    makeSharedFlow = function(_, owner, priority)
      return makeFlow(owner, sharedKey(owner, priority), 0, false)
    end,
    dropFlow = function(self, owner, flow)
      owner.isChanged = true
      removeFlow(self, flow)
    end,
    ownerOf = function(_, flow)
      return findOwner(flow.owner)
    end,
    countBefore = function(_, flow, ticket)
      local from = '[' .. flow.key .. '\0'
      return redis.call('ZLEXCOUNT', key.queue, from, '(' .. flow.key .. '\0' .. arrival(ticket) .. ':')
    end,
    deactivate = function(_, flow)
      redis.call('ZREM', key.active, flow.active)
      flow.active = nil
    end,
    activeUpTo = function(_, tag)
      if visited >= MAX_VISITED_PER_STEP then return nil end
      local active = redis.call('ZRANGEBYSCORE', key.active, '-inf', tag,
        'LIMIT', 0, MAX_FLOWS_VISITED)
      visited = visited + #active
      if #active == MAX_FLOWS_VISITED then return nil end
      for i, member in ipairs(active) do active[i] = string.sub(member, 29) end
      loadFlows(active)
      for i, flowKey in ipairs(active) do active[i] = flows[flowKey] end
      return active
    end,
    addIdle = function(self, flow)
      fresh.idle = true
      self.idle = self.idle + redis.call('ZADD', key.idle, flow.finish, flow.key)
    end,
    moveIdle = function(self, flow)
      changedFlows[flow.key] = true
      if self.idle > 0 then redis.call('ZADD', key.idle, 'XX', flow.finish, flow.key) end
    end,
    removeIdle = removeIdle,
    -- It adds 0 to the score of that flow, because ZSCORE would be one more command that the server's
    -- user must be allowed.
    isIdle = function(self, flow)
      return self.idle > 0 and not not redis.call('ZADD', key.idle, 'XX', 'INCR', 0, flow.key)
    end,
    idleCount = function(self)
      return self.idle
    end,
    clear = function(self)
      self.idle = 0
      redis.call('DEL', key.idle, key.owners, key.flows, key.active, key.lengths)
      flows, changedFlows, owners = {}, {}, {}
    end,
    -- The last ticket of the longest flow, which a full queue drops. Of flows with the same length, the
    -- last one by name.
    last = function(self)
      save(self)
      local flow = loadFlow(redis.call('ZREVRANGE', key.lengths, 0, 0)[1])
      local from, to = '[' .. flow.key .. '\0', '(' .. flow.key .. '\1'
      return find(idOf(flow, redis.call('ZREVRANGEBYLEX', key.queue, to, from, 'LIMIT', 0, 1)[1]))
    end,
    -- The ids of a flow's first `count` tickets.
    firstIds = function(_, flow, count)
      local ids = firstMembers(flow, count)
      for i, member in ipairs(ids) do ids[i] = idOf(flow, member) end
      return ids
    end,
  }
end

return lazily({
  namedFlow = function(_, ticket)
    return loadFlow(ticket.owner .. '\1' .. ticket.priority .. ' ' .. ticket.caller)
  end,
  flowOf = function(_, ticket)
    return loadFlow(ticket.flow)
  end,
  insert = function(self, flow, ticket)
    stillThere = stillThere or self.size - 1
    markChanged(self)
    self.order = self.order + 1
    ticket.flow = flow.key
    ticket.member = flow.key .. '\0' .. arrival(ticket)
      .. string.format('%012.0f%d', self.order, ticket.paid and 1 or 0) .. ticket.id
    store(ticket)
    redis.call('ZADD', key.queue, '0', ticket.member)
    changedFlows[flow.key] = true
    return not flow.active or ticket.member < flow.head
  end,
  unlink = function(self, flow, ticket)
    stillThere = (stillThere or self.size) - 1
    markChanged(self)
    redis.call('ZREM', key.queue, ticket.member)
    redis.call('HDEL', key.tickets, ticket.id)
    changedFlows[flow.key] = true
    return flow.head == ticket.member
  end,
  headOf = function(_, flow)
    return find(idOf(flow, firstMembers(flow, 1)[1]))
  end,
  -- The set orders equal tags by member, that is by the place of their heads.
  activate = function(_, flow, head)
    local before = flow.active
    flow.head = head.member
    flow.active = string.sub(head.member, #flow.key + 2, #flow.key + 29) .. flow.key
    redis.call('ZADD', key.active, flow.tag, flow.active)
    if before and before ~= flow.active then redis.call('ZREM', key.active, before) end
    changedFlows[flow.key] = true
  end,
  takeIdle = function(self, finish)
    if self.idle == 0 then return nil end
    local first = redis.call('ZRANGEBYSCORE', key.idle, '-inf', finish, 'LIMIT', 0, 1)[1]
    if not first then return nil end
    self.idle = self.idle - redis.call('ZREM', key.idle, first)
    return loadFlow(first)
  end,
  save = save,
  find = function(_, id)
    return find(id)
  end,
  -- Writes what changed of a waiting ticket.
  store = function(_, ticket)
    store(ticket)
  end,
  -- The flow at a position (from 0) of the fair order; nil beyond the last.
  flowAt = function(_, position)
    local member = redis.call('ZRANGE', key.active, position, position)[1]
    return member and loadFlow(string.sub(member, 29))
  end,
  -- The id of a flow's first ticket.
  headId = function(_, flow)
    return idOf(flow, flow.head)
  end,
  rare
})
