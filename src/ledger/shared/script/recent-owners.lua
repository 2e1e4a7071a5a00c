-- recent-owners: which owners used the bucket lately, and how much of it.
--
-- Generated from src/queue/recent-owners.ts by "npm run lua". Change the source, not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source.

local RecentOwners
RecentOwners = {
demandOf = function(owners, at, periodMs, now)
    return RecentOwners.usedBy(owners, at, periodMs, now) + (owners.waiting[at + 1] or 0)
end,
modestUse = function(owners, periodMs, now)
    local known = 0
    local sum = 0
    do
        local i = 0
        while i < #owners.names do
            if RecentOwners.isKnown(owners, i, periodMs, now) then
                known = known + 1
                sum = sum + RecentOwners.usedBy(owners, i, periodMs, now)
            end
            i = i + 1
        end
    end
    return known < 2 and -1 or 0.5 * sum / known
end,
isKnown = function(____bindingPattern0, at, periodMs, now)
    local seenAt
    seenAt = ____bindingPattern0.seenAt
    return now - (seenAt[at + 1] or 0) <= 5 * periodMs
end,
usedBy = function(____bindingPattern0, at, periodMs, now)
    local seenAt
    local used
    used = ____bindingPattern0.used
    seenAt = ____bindingPattern0.seenAt
    local before = used[at + 1] or 0
    if periodMs == nil then
        return before
    end
    local fadedPeriods = (now - (seenAt[at + 1] or 0)) / periodMs
    return before * math.max(0, 1 - fadedPeriods / 2)
end,
addOwner = function(____bindingPattern0, name, now)
    local waiting
    local used
    local seenAt
    local names
    names = ____bindingPattern0.names
    seenAt = ____bindingPattern0.seenAt
    used = ____bindingPattern0.used
    waiting = ____bindingPattern0.waiting
    local at = #names
    if at >= 32 then
        at = 0
        do
            local i = 1
            while i < #names do
                if (seenAt[i + 1] or 0) < (seenAt[at + 1] or 0) then
                    at = i
                end
                i = i + 1
            end
        end
    end
    names[at + 1] = name
    seenAt[at + 1] = now
    used[at + 1] = 0
    waiting[at + 1] = 0
    return at
end,
placeOf = function(____bindingPattern0, name)
    local names
    names = ____bindingPattern0.names
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
seeOwner = function(owners, name, use, periodMs, now)
    local at = RecentOwners.placeOf(owners, name)
    if at < 0 then
        at = RecentOwners.addOwner(owners, name, now)
    end
    owners.used[at + 1] = RecentOwners.usedBy(owners, at, periodMs, now) + use
    owners.seenAt[at + 1] = now
end,
countWaiting = function(owners, name, change)
    local at = RecentOwners.placeOf(owners, name)
    if at >= 0 then
        owners.waiting[at + 1] = math.max(0, (owners.waiting[at + 1] or 0) + change)
    end
end,
hasModestOwner = function(owners, periodMs, now)
    local most = RecentOwners.modestUse(owners, periodMs, now)
    do
        local i = 0
        while i < #owners.names do
            local isModestOwner = RecentOwners.demandOf(owners, i, periodMs, now) <= most
            if isModestOwner and RecentOwners.isKnown(owners, i, periodMs, now) then
                return true
            end
            i = i + 1
        end
    end
    return false
end,
mayModestWait = function(owners, periodMs, now)
    local most = RecentOwners.modestUse(owners, periodMs, now)
    do
        local i = 0
        while i < #owners.names do
            local isWaiting = (owners.waiting[i + 1] or 0) > 1e-9
            if isWaiting and RecentOwners.usedBy(owners, i, periodMs, now) <= most then
                return true
            end
            i = i + 1
        end
    end
    return false
end,
isModest = function(owners, name, own, periodMs, now)
    local at = RecentOwners.placeOf(owners, name)
    local demand = at < 0 and 0 or RecentOwners.demandOf(owners, at, periodMs, now) - own
    return demand <= RecentOwners.modestUse(owners, periodMs, now) + 1e-9
end,
}
return RecentOwners
