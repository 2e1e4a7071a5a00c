-- fair-queue: the order of the waiting tickets, as one module. Its data are in stored-queue.lua.
--
-- Generated from src/queue/{fair-queue,flow,flows-by-owner}.ts by "npm run lua". Change the source,
-- not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source.

local FairQueue
FairQueue = lazily({
unlinkItem = function(queue, flow, item, isTaken)
    local wasHead = queue:unlink(flow, item)
    local extra = (item.cost or 1) - 1
    queue.size = queue.size - 1
    queue.extra = queue.extra - extra
    flow.length = flow.length - 1
    flow.extra = flow.extra - extra
    if queue.size == 0 then
        queue:clear()
    elseif flow.length == 0 then
        queue:deactivate(flow)
        FairQueue.onEmptyFlow(queue, flow)
    elseif wasHead or isTaken then
        local head = queue:headOf(flow)
        if head ~= nil then
            FairQueue.placeHead(queue, flow, head)
        end
    end
end,
placeHead = function(queue, flow, head)
    flow.tag = head.paid and queue.virtualTime or (flow.finish < queue.virtualTime and queue.virtualTime or flow.finish)
    flow.weight = FairQueue.weightOf(head)
    queue:activate(flow, head)
end,
weightOf = function(item)
    if item.priority == "normal" then
        return 10 * item.weight
    end
    return item.priority == "high" and 100 * item.weight or item.weight
end,
findFlow = function(queue, item)
    local named = queue:namedFlow(item)
    if named ~= nil then
        return named
    end
    local owner = queue:findOwner(item.owner)
    local hasMany = owner ~= nil and owner.named >= 13
    local ____hasMany_0
    if hasMany then
        ____hasMany_0 = queue:sharedFlow(owner, item.priority)
    else
        ____hasMany_0 = nil
    end
    return ____hasMany_0
end,
flowToJoin = function(queue, item)
    local existing = FairQueue.findFlow(queue, item)
    if existing ~= nil then
        if existing.length == 0 then
            queue:removeIdle(existing)
        end
        return existing
    end
    local start = FairQueue.startOf(queue, item)
    local owner = queue:findOwner(item.owner) or queue:makeOwner(item.owner)
    if owner.named >= 13 then
        return queue:makeSharedFlow(owner, item.priority)
    end
    if not FairQueue.rememberName(owner, (item.priority .. " ") .. item.caller) then
        local shared = queue:sharedFlow(owner, item.priority) or queue:makeSharedFlow(owner, item.priority)
        shared.finish = start + (item.cost or 1) / FairQueue.weightOf(item)
        queue:moveIdle(shared)
    end
    owner.named = owner.named + 1
    return queue:makeNamedFlow(owner, item, start)
end,
forgetIdle = function(queue)
    local first = queue:takeIdle(queue.virtualTime)
    while first ~= nil do
        FairQueue.forget(queue, first)
        first = queue:takeIdle(queue.virtualTime)
    end
end,
addItem = function(queue, item)
    local flow = FairQueue.flowToJoin(queue, item)
    local extra = (item.cost or 1) - 1
    queue.size = queue.size + 1
    queue.extra = queue.extra + extra
    flow.length = flow.length + 1
    flow.extra = flow.extra + extra
    if queue:insert(flow, item) then
        FairQueue.placeHead(queue, flow, item)
    end
end,
takeItem = function(queue, item)
    local flow = queue:flowOf(item)
    queue.virtualTime = flow.tag < queue.virtualTime and queue.virtualTime or flow.tag
    if not item.paid then
        flow.finish = flow.tag + (item.cost or 1) / FairQueue.weightOf(item)
    end
    FairQueue.unlinkItem(queue, flow, item, true)
    FairQueue.forgetIdle(queue)
end,
removeItem = function(queue, item)
    FairQueue.unlinkItem(
        queue,
        queue:flowOf(item),
        item,
        false
    )
end,
useOf = function(item)
    return (item.cost or 1) / FairQueue.weightOf(item)
end,
fadedUse = function(usedAt, used, periodMs, now)
    return periodMs == nil and used or used * (1 - (now - usedAt) / (2 * periodMs) < 0 and 0 or 1 - (now - usedAt) / (2 * periodMs))
end,
function()
return {
startIn = function(queue, own, item)
    if own == nil then
        return FairQueue.startOf(queue, item)
    end
    return own.length > 0 and own.tag or own.finish
end,
startOf = function(queue, item)
    local owner = queue:findOwner(item.owner)
    if owner == nil or FairQueue.indexOf(owner.known, (item.priority .. " ") .. item.caller) >= 0 then
        return queue.virtualTime
    end
    local shared = queue:sharedFlow(owner, item.priority)
    return shared == nil and queue.virtualTime or (shared.finish < queue.virtualTime and queue.virtualTime or shared.finish)
end,
onEmptyFlow = function(queue, flow)
    if flow.finish > queue.virtualTime then
        queue:addIdle(flow)
    else
        FairQueue.forget(queue, flow)
    end
    while queue:idleCount() > 4096 do
        local first = queue:takeIdle(math.huge)
        if first == nil then
            return
        end
        FairQueue.forget(queue, first)
    end
end,
forget = function(queue, flow)
    local owner = queue:ownerOf(flow)
    if flow.named then
        owner.named = owner.named - 1
        queue:dropFlow(owner, flow)
    end
    if owner.named > 0 then
        return
    end
    local needsHigh = FairQueue.needsShared(queue, owner, "high", flow)
    local needsNormal = FairQueue.needsShared(queue, owner, "normal", flow)
    local needsLow = FairQueue.needsShared(queue, owner, "low", flow)
    if not needsHigh and not needsNormal and not needsLow then
        queue:dropOwner(owner)
    end
end,
needsShared = function(queue, owner, priority, forgotten)
    local shared = queue:sharedFlow(owner, priority)
    if shared == nil then
        return false
    end
    if shared.length > 0 then
        return true
    end
    if shared.finish <= queue.virtualTime then
        return false
    end
    if not forgotten.named and not queue:isIdle(shared) then
        return false
    end
    queue:addIdle(shared)
    return true
end,
rememberName = function(owner, name)
    local ____owner_1 = owner
    local known = ____owner_1.known
    local at = FairQueue.indexOf(known, name)
    if at < 0 then
        known[#known + 1] = name
        if #known > 13 then
            table.remove(known, 1)
        end
        return false
    end
    do
        local i = at
        while i < #known do
            known[i + 1] = known[i + 1 + 1] or name
            i = i + 1
        end
    end
    return true
end,
indexOf = function(names, name)
    do
        local i = 0
        while i < #names do
            if names[i + 1] == name then
                return i
            end
            i = i + 1
        end
    end
    return -1
end,
operationsAhead = function(queue, item, callCost)
    local own = FairQueue.findFlow(queue, item)
    local start = queue.virtualTime
    local count = 0
    local tagsBefore = 0
    if own ~= nil and own.length > 0 then
        local before = queue:countBefore(own, item) / own.length
        tagsBefore = before * (own.length + own.extra)
        count = before * (own.length * callCost + own.extra)
    end
    if count > 0 or not item.paid then
        start = math.max(
            start,
            FairQueue.startIn(queue, own, item)
        )
    end
    local tag = start + tagsBefore / FairQueue.weightOf(item)
    local flows = queue:activeUpTo(tag + 1e-9)
    if flows == nil then
        return nil
    end
    for ____, flow in ipairs(flows) do
        if flow ~= own and flow.tag <= tag + 1e-9 then
            local tagCost = (flow.length + flow.extra) / flow.length
            local before = math.floor((tag - flow.tag) * flow.weight / tagCost + 1e-9) + 1
            local operations = flow.length * callCost + flow.extra
            count = count + (operations < before * (operations / flow.length) and operations or before * (operations / flow.length))
        end
    end
    return math.ceil(count)
end,
}
end })
return FairQueue
