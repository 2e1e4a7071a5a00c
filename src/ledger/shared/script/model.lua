-- model: the budget model, as one module.
--
-- Generated from src/budget/*.ts by "npm run lua". Change the source, not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source; and
--   packBucket and unpackBucket, which store a bucket without its slots.

local Model
Model = lazily({
reportsCount = function(____bindingPattern0, ____bindingPattern1)
    local hasReportedLimit
    hasReportedLimit = ____bindingPattern0.hasReportedLimit
    local resetAt
    local remaining
    local limit
    local status
    status = ____bindingPattern1.status
    limit = ____bindingPattern1.limit
    remaining = ____bindingPattern1.remaining
    resetAt = ____bindingPattern1.resetAt
    if resetAt ~= nil then
        return (remaining or limit) ~= nil
    end
    return remaining ~= nil and (status ~= 429 or remaining > 0 or hasReportedLimit)
end,
isNewest = function(bucket, lease, observation, left, laterMs)
    if bucket.observations == 0 or lease.observation >= bucket.observations then
        return true
    end
    local sameWithinMs = bucket.sameWithinMs < observation.sameWithinMs and observation.sameWithinMs or bucket.sameWithinMs
    local farMs = 500 < sameWithinMs and sameWithinMs or 500
    if laterMs > farMs then
        return true
    end
    if laterMs < -farMs then
        return false
    end
    local known = bucket.remaining
    local returned = (Model.maxOf(bucket.noiseMs) or 0) > 0 and 0 or bucket.returns - lease.returns + bucket.doubtful
    if laterMs > sameWithinMs then
        return left <= known or left - known < returned
    end
    return left < known and (laterMs >= -sameWithinMs or known - left >= returned)
end,
learnFromOrder = function(bucket, lease, ____bindingPattern0, left, laterMs)
    local sameWithinMs
    local stamp
    local resetAt
    resetAt = ____bindingPattern0.resetAt
    stamp = ____bindingPattern0.stamp
    sameWithinMs = ____bindingPattern0.sameWithinMs
    if bucket.observations == 0 or lease.observation >= bucket.observations then
        Model.learnNoise(bucket, -laterMs - bucket.sameWithinMs)
    end
    local ____lease_2 = lease
    local returns = ____lease_2.returns
    local at = stamp or resetAt
    local ____bucket_3 = bucket
    local last = ____bucket_3.last
    local isOrdered = returns == bucket.returns and last.returns == returns and bucket.doubtful == 0
    if isOrdered and at ~= nil and last.resetAt ~= nil and left ~= last.left then
        local laterThanLastMs = left < last.left and at - last.resetAt or last.resetAt - at
        Model.learnNoise(bucket, -laterThanLastMs - (bucket.sameWithinMs < sameWithinMs and sameWithinMs or bucket.sameWithinMs))
    end
    last.resetAt = at
    last.left = left
    last.returns = returns
end,
learnNoise = function(bucket, ms)
    local isNoise = ms > 0.01 and ms <= 500
    Model.addToMax(
        bucket.noiseMs,
        isNoise and ms or 0,
        Model.observationsToRemember(bucket.limit)
    )
end,
totalRemainingOf = function(bucket, ____bindingPattern0, ____bindingPattern1)
    local cost
    cost = ____bindingPattern0.cost
    local remaining
    local status
    status = ____bindingPattern1.status
    remaining = ____bindingPattern1.remaining
    if remaining == nil then
        remaining = 0
    end
    local uncounted = bucket.countsBefore and status ~= 429 and cost or 0
    return remaining - uncounted < 0 and 0 or remaining - uncounted
end,
resetLaterMs = function(bucket, ____bindingPattern0)
    local stamp
    local resetAt
    resetAt = ____bindingPattern0.resetAt
    stamp = ____bindingPattern0.stamp
    local hasStamps = stamp ~= nil and bucket.stamp ~= nil
    local at = hasStamps and stamp or resetAt
    local ____hasStamps_4
    if hasStamps then
        ____hasStamps_4 = bucket.stamp
    else
        ____hasStamps_4 = bucket.reportedResetAt
    end
    local newestAt = ____hasStamps_4
    return (at == nil or newestAt == nil) and 0 or at - newestAt
end,
isOtherReset = function(bucket, observation)
    local sameWithinMs = observation.sameWithinMs < bucket.sameWithinMs and bucket.sameWithinMs or observation.sameWithinMs
    return Model.resetLaterMs(bucket, observation) > sameWithinMs
end,
keepLaterReset = function(bucket, observation)
    if not Model.isOtherReset(bucket, observation) then
        return
    end
    local ____observation_5 = observation
    local resetAt = ____observation_5.resetAt
    local stamp = ____observation_5.stamp
    bucket.reportedResetAt = resetAt
    bucket.stamp = stamp
    if bucket.resetAt ~= nil then
        bucket.resetAt = resetAt
    end
end,
observe = function(bucket, lease, observation, now)
    local ____observation_6 = observation
    local reported = ____observation_6.remaining
    if reported == nil then
        reported = 0
    end
    local uncertaintyMs = ____observation_6.uncertaintyMs
    local isThrottled = observation.status == 429
    local isFirst = bucket.observations == 0
    local earlierMs = -Model.resetLaterMs(bucket, observation)
    local keepsReset = earlierMs > bucket.sameWithinMs and earlierMs <= 500
    local ____keepsReset_7
    if keepsReset then
        ____keepsReset_7 = bucket.reportedResetAt
    else
        ____keepsReset_7 = observation.resetAt
    end
    local resetAt = ____keepsReset_7
    local reportedLimit = math.max(observation.limit or bucket.limit, reported, 1)
    local isStated = bucket.isLimitStated or observation.limit ~= nil
    local isAlone = (isFirst or bucket.heldUntil ~= nil) and lease.kind ~= "regular"
    if isAlone and isStated and not isThrottled then
        if reported == reportedLimit then
            bucket.countsBefore = true
        elseif reported == reportedLimit - lease.cost then
            bucket.countsBefore = false
        end
    end
    local totalRemaining = Model.totalRemainingOf(bucket, lease, observation)
    local spent = reportedLimit - totalRemaining
    local limit = reportedLimit
    local remainingOfShare = totalRemaining
    local remaining = remainingOfShare - (bucket.losses - lease.losses - lease.loss) < 0 and 0 or remainingOfShare - (bucket.losses - lease.losses - lease.loss)
    if limit ~= bucket.limit then
        bucket.observedPeriodMs = {previous = nil, current = nil, count = 0}
        bucket.rounded = {
            testAt = nil,
            openedAt = nil,
            closedMs = 0,
            openMs = math.huge,
            isUneven = false,
            failures = 0
        }
        bucket.costFrom = nil
    end
    if isThrottled then
        bucket.rounded.openedAt = nil
    else
        Model.learnRounding(
            bucket,
            lease,
            spent,
            Model.isOtherReset(bucket, observation),
            now
        )
    end
    local isOtherLimit = not isFirst and limit ~= bucket.limit and remaining > bucket.remaining
    bucket.phase = "metered"
    bucket.hasReportedLimit = true
    bucket.observations = bucket.observations + 1
    bucket.observedAt = now
    bucket.reportedRemaining = reported
    if not keepsReset then
        bucket.reportedResetAt = resetAt
        bucket.stamp = observation.stamp
        bucket.sameWithinMs = observation.sameWithinMs
    end
    bucket.limit = limit
    bucket.isLimitStated = bucket.isLimitStated or observation.limit ~= nil
    bucket.remaining = remaining
    bucket.uncertaintyMs = uncertaintyMs
    Model.boundCost(bucket)
    Model.shareObserved(bucket, totalRemaining, now, lease.grantedAt)
    bucket.heldUntil = nil
    bucket.isCanaryDue = false
    if isOtherLimit then
        Model.holdOthers(bucket, now)
    end
    local mayLift = not bucket.isRetryAfter or lease.observation >= bucket.blockedObservation
    if remaining > 0 and mayLift then
        bucket.blockedUntil = nil
    end
    local hasReset = Model.refillObserved(
        bucket,
        lease,
        resetAt,
        uncertaintyMs,
        reportedLimit,
        spent,
        now
    )
    if hasReset or remaining > 0 then
        bucket.canaryWaitMs = 1000
    end
    if hasReset then
        bucket.canaryDueAt = Model.planTest(bucket)
    else
        Model.scheduleCanary(bucket, now)
    end
end,
learnCost = function(bucket, lease, now)
    if bucket.share ~= nil then
        return
    end
    if bucket.observations == 1 then
        bucket.lastFall = bucket.limit - bucket.reportedRemaining
    else
        Model.countCall(bucket, lease)
    end
    if bucket.inFlight > 0 then
        return
    end
    local fall = bucket.lastFall or 0
    local isPlausible = fall > bucket.callCost and fall <= bucket.limit / 4
    if isPlausible and bucket.observations < 3 then
        Model.holdOthers(bucket, now)
    end
    Model.startMeasuring(bucket)
end,
boundCost = function(bucket)
    local ____bucket_10 = bucket
    local phase = ____bucket_10.phase
    local isLimitStated = ____bucket_10.isLimitStated
    local callCost = ____bucket_10.callCost
    if phase ~= "metered" or not isLimitStated then
        return
    end
    bucket.callCost = callCost < (bucket.limit < 1 and 1 or bucket.limit) and callCost or (bucket.limit < 1 and 1 or bucket.limit)
end,
countCall = function(bucket, ____bindingPattern0)
    local cost
    cost = ____bindingPattern0.cost
    local ____bucket_11 = bucket
    local callCost = ____bucket_11.callCost
    local costFrom = ____bucket_11.costFrom
    local reportedRemaining = ____bucket_11.reportedRemaining
    bucket.costCalls = bucket.costCalls + 1
    if cost ~= callCost then
        bucket.costFrom = nil
    end
    if bucket.inFlight > 0 or costFrom == nil or cost ~= callCost then
        return
    end
    if bucket.doubtful > 0 or bucket.returns ~= bucket.costReturns then
        return
    end
    if bucket.losses ~= bucket.costLosses then
        return
    end
    local fall = (costFrom - reportedRemaining) / bucket.costCalls
    if fall < 0 then
        return
    end
    if fall < callCost then
        bucket.callCost = math.max(
            1,
            math.floor(fall)
        )
    elseif bucket.costCalls == 1 and fall == math.floor(fall) then
        local least = fall < (bucket.lastFall or 0) and fall or (bucket.lastFall or 0)
        if fall == bucket.lastFall or least > 50 then
            bucket.callCost = least
        end
    end
    if bucket.costCalls == 1 then
        bucket.lastFall = fall
    end
end,
startMeasuring = function(bucket)
    local ____bucket_13 = bucket
    local ____temp_12
    if bucket.doubtful > 0 then
        ____temp_12 = nil
    else
        ____temp_12 = bucket.reportedRemaining
    end
    ____bucket_13.costFrom = ____temp_12
    bucket.costReturns = bucket.returns
    bucket.costLosses = bucket.losses
    bucket.costCalls = 0
end,
regularOffer = function(bucket, cost, now)
    local ____bucket_22 = bucket
    local phase = ____bucket_22.phase
    local inFlight = ____bucket_22.inFlight
    if bucket.blockedUntil ~= nil then
        return nil
    end
    if phase == "unopened" then
        return (inFlight == 0 or now >= bucket.nextFirstAt) and "first" or nil
    end
    if phase == "unmetered" then
        return inFlight < Model.maxInFlight(bucket) and "regular" or nil
    end
    if (bucket.expected > 0 or bucket.expected == 0 and bucket.window == 1024 and bucket.ceiling < 1024) and inFlight >= Model.maxInFlight(bucket) then
        return nil
    end
    local needed = bucket.share == nil and bucket.isLimitStated and cost or (cost < bucket.limit and cost or bucket.limit)
    local left = bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0
    local isCovered = left >= needed
    local isAllowed = isCovered or now >= math.huge
    if isAllowed and not (bucket.heldUntil ~= nil and now < bucket.heldUntil) then
        return "regular"
    end
    if bucket.canaryAt == nil and (isCovered or bucket.isCanaryDue) then
        return "canary"
    end
    local mayCheck = inFlight == 0 and now >= Model.checkAt(bucket)
    return mayCheck and left + math.max(
        0,
        math.min(
            bucket.doubtful,
            bucket.unmatched - (Model.maxOf(bucket.othersSpent) or 0)
        )
    ) >= needed and "canary" or nil
end,
switchBasis = function(bucket, ____bindingPattern0)
    local resetAt
    local basis
    basis = ____bindingPattern0.basis
    resetAt = ____bindingPattern0.resetAt
    if resetAt == nil or basis == bucket.basis then
        return
    end
    bucket.basis = basis
    local ms = basis == "instant" and bucket.offsetMs or -bucket.offsetMs
    if ms == 0 then
        return
    end
    Model.moveSlots(bucket.slots, ms)
    if bucket.resetAt ~= nil then
        bucket.resetAt = bucket.resetAt + ms
    end
    if bucket.reportedResetAt ~= nil then
        bucket.reportedResetAt = bucket.reportedResetAt + ms
    end
    bucket.last.resetAt = nil
end,
nextSlotAt = function(bucket)
    local first = bucket.slots.firsts[1]
    return first == nil and math.huge or (bucket.basis == "instant" and first - bucket.offsetMs or first) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
end,
checkAt = function(bucket)
    local ____bucket_31 = bucket
    local doubtFrom = ____bucket_31.doubtFrom
    local doubtUntil = ____bucket_31.doubtUntil
    if doubtFrom == nil or doubtUntil == nil or math.max(
        0,
        math.min(
            bucket.doubtful,
            bucket.unmatched - (Model.maxOf(bucket.othersSpent) or 0)
        )
    ) == 0 then
        return math.huge
    end
    local at = doubtUntil + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    local nextReturnAt = math.min(
        Model.nextSlotAt(bucket),
        bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    )
    return nextReturnAt - at > doubtUntil - doubtFrom and at or math.huge
end,
addCallSlots = function(bucket, at, cost, now)
    local localAt = bucket.basis == "instant" and at - bucket.offsetMs or at
    if cost == 0 or bucket.countedUntil ~= nil and localAt <= bucket.countedUntil then
        return
    end
    Model.addSlots(
        bucket.slots,
        at,
        cost,
        math.max(
            Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs or 0,
            localAt - now
        )
    )
end,
countUnreported = function(bucket, cost, now, reportedAt)
    local isAhead = reportedAt ~= nil and (bucket.basis == "instant" and reportedAt - bucket.offsetMs or reportedAt) > now
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if isAhead then
        Model.countUntil(bucket, cost, now, reportedAt)
    elseif period == nil or bucket.resetAt ~= nil then
        Model.countLost(bucket, cost, now)
    else
        Model.countUntil(
            bucket,
            cost,
            now,
            Model.fromLocal(bucket, now + period)
        )
    end
end,
countUntil = function(bucket, cost, now, returnsAt)
    bucket.losses = bucket.losses + cost
    if bucket.phase ~= "metered" then
        return
    end
    bucket.remaining = bucket.remaining - cost < 0 and 0 or bucket.remaining - cost
    if bucket.share ~= nil then
        local ____bucket_share_33, ____totalRemaining_34 = bucket.share, "totalRemaining"
        ____bucket_share_33[____totalRemaining_34] = ____bucket_share_33[____totalRemaining_34] - cost
    end
    if returnsAt ~= nil then
        Model.addCallSlots(bucket, returnsAt, cost, now)
    end
    Model.keepLastSlots(bucket.slots, bucket.limit - bucket.remaining)
    if returnsAt == nil and bucket.inFlight == 0 then
        Model.scheduleCanary(bucket, now)
    end
end,
applyReturns = function(bucket, ____until, included)
    do
        while true do
            local slotAt = Model.nextSlotAt(bucket)
            local refillAt = bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
            local at = slotAt < refillAt and slotAt or refillAt
            if at > ____until or at == ____until and not included then
                return
            end
            bucket.lastReturnAt = at
            if refillAt <= slotAt then
                Model.refillByReset(bucket, refillAt)
            else
                local count = Model.takeSlotsUntil(bucket.slots, bucket.slots.firsts[1] or 0)
                bucket.returns = bucket.returns + count
                bucket.remaining = bucket.limit < bucket.remaining + count and bucket.limit or bucket.remaining + count
                if bucket.share ~= nil then
                    local ____bucket_share_36, ____totalRemaining_37 = bucket.share, "totalRemaining"
                    ____bucket_share_36[____totalRemaining_37] = ____bucket_share_36[____totalRemaining_37] + count
                end
            end
        end
    end
end,
refillObserved = function(bucket, lease, resetAt, uncertaintyMs, totalLimit, spent, now)
    local ____bucket_39 = bucket
    local slots = ____bucket_39.slots
    local countedAt = now - 1000 < lease.grantedAt and lease.grantedAt or now - 1000
    local countedUntil = now + uncertaintyMs
    local alreadyCounted = Model.takeSlotsUntil(slots, bucket.basis == "instant" and countedUntil + bucket.offsetMs or countedUntil)
    Model.keepLastSlots(slots, spent)
    local span = 2 * totalLimit < 64 and 64 or 2 * totalLimit
    local returned = bucket.returns - lease.returns + alreadyCounted
    local unmatched = spent - slots.size
    if bucket.doubtUntil == nil or countedAt >= bucket.doubtUntil then
        bucket.doubtful = 0
    end
    if returned > 0 then
        bucket.doubtful = bucket.doubtful + returned
        bucket.doubtFrom = countedAt
        bucket.doubtUntil = countedUntil
    end
    bucket.unmatched = unmatched
    local byOthers = unmatched - (bucket.inFlight + bucket.extraInFlight) - bucket.doubtful < 0 and 0 or unmatched - (bucket.inFlight + bucket.extraInFlight) - bucket.doubtful
    Model.addToMax(bucket.othersSpent, byOthers, span)
    bucket.countedUntil = countedUntil
    local localAt = resetAt == nil and now or (bucket.basis == "instant" and resetAt - bucket.offsetMs or resetAt)
    local ____bucket_41 = bucket
    local ____temp_40
    if localAt > now then
        ____temp_40 = resetAt
    else
        ____temp_40 = nil
    end
    ____bucket_41.resetAt = ____temp_40
    if bucket.resetAt == nil then
        return false
    end
    Model.addToMax(bucket.observedPeriodMs, localAt - countedAt, span)
    return true
end,
countedBefore = function(bucket, ____bindingPattern0)
    local returns
    local cost
    cost = ____bindingPattern0.cost
    returns = ____bindingPattern0.returns
    bucket.unmatched = bucket.unmatched - cost
    local excess = bucket.slots.size - (bucket.limit - bucket.remaining) < 0 and 0 or bucket.slots.size - (bucket.limit - bucket.remaining)
    local returnedEarly = excess < bucket.returns - returns and excess or bucket.returns - returns
    bucket.remaining = bucket.remaining - returnedEarly < 0 and 0 or bucket.remaining - returnedEarly
    Model.keepLastSlots(bucket.slots, bucket.limit - bucket.remaining)
end,
observationsToRemember = function(limit)
    return 2 * limit < 64 and 64 or 2 * limit
end,
maxKept = function(____bindingPattern0, spread)
    local limit
    local phase
    phase = ____bindingPattern0.phase
    limit = ____bindingPattern0.limit
    if spread <= 0 or phase ~= "metered" or limit < 5 then
        return 0
    end
    return math.max(
        1,
        math.floor(limit * spread)
    )
end,
planTest = function(bucket)
    bucket.rounded.testAt = Model.nextTestAt(bucket)
    return bucket.rounded.testAt
end,
isTest = function(bucket, ____bindingPattern0)
    local grantedAt
    local kind
    kind = ____bindingPattern0.kind
    grantedAt = ____bindingPattern0.grantedAt
    local ____bucket_rounded_46 = bucket.rounded
    local testAt = ____bucket_rounded_46.testAt
    local isDue = testAt ~= nil and grantedAt >= testAt and grantedAt < (bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0)))
    return kind == "canary" and isDue and bucket.remaining == 0
end,
nextTestAt = function(bucket)
    local ____bucket_47 = bucket
    local resetAt = ____bucket_47.resetAt
    local sameWithinMs = ____bucket_47.sameWithinMs
    local uncertaintyMs = ____bucket_47.uncertaintyMs
    local rounded = ____bucket_47.rounded
    local slots = ____bucket_47.slots
    local isRounded = sameWithinMs >= 1000 and uncertaintyMs >= 2 * 1000
    if resetAt == nil or not isRounded or uncertaintyMs > 5000 then
        return nil
    end
    local isLog = (slots.firsts[1] or math.huge) < resetAt - sameWithinMs
    if isLog or rounded.failures >= 4 or bucket.share ~= nil then
        return nil
    end
    local latestAt = bucket.basis == "instant" and resetAt - bucket.offsetMs or resetAt
    local at = math.huge
    if not rounded.isUneven and Model.isEven(Model.reportedAt(bucket)) then
        at = latestAt - sameWithinMs + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    elseif rounded.openedAt ~= nil then
        local earliestMs = latestAt - uncertaintyMs - rounded.openedAt
        local isKnown = rounded.closedMs > earliestMs and rounded.closedMs < earliestMs + uncertaintyMs
        local closedMs = isKnown and rounded.closedMs or earliestMs
        local nextMs = (math.floor((closedMs + 1) / 1000) + 1) * 1000
        local openMs = rounded.openMs > closedMs and rounded.openMs or nextMs
        at = rounded.openedAt + (openMs < nextMs and openMs or nextMs)
    end
    return at < (bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))) and at or nil
end,
learnRounding = function(bucket, lease, spent, isOther, now)
    local ____bucket_48 = bucket
    local rounded = ____bucket_48.rounded
    local isOpening = spent > 0 and spent == lease.cost
    if Model.isTest(bucket, lease) then
        if spent > lease.cost then
            rounded.failures = 4
        else
            rounded.failures = rounded.failures - 0.25 < 0 and 0 or rounded.failures - 0.25
        end
        local ____rounded_49 = rounded
        local openedAt = ____rounded_49.openedAt
        if isOpening and openedAt ~= nil then
            rounded.openMs = rounded.openMs < lease.grantedAt - openedAt and rounded.openMs or lease.grantedAt - openedAt
        end
    end
    if isOpening then
        rounded.openedAt = now
    elseif isOther then
        rounded.openedAt = nil
    end
end,
shareObserved = function(____bindingPattern0, totalRemaining, at, grantedAt)
    local share
    share = ____bindingPattern0.share
    if share == nil then
        return
    end
    share.observedAt = at
    share.totalRemaining = totalRemaining
    share.isMeasured = share.isMeasured or grantedAt >= share.measuresFrom
end,
addSlots = function(slots, at, count, spanMs)
    local ____slots_59 = slots
    local chunks = ____slots_59.chunks
    local grain = spanMs / 1024
    local isCrowded = #chunks > 12
    local time = isCrowded and grain > 0 and math.ceil(at / grain) * grain or at
    Model.addEntry(slots, time, count)
    if #chunks > 32 then
        Model.mergeFirstChunk(slots)
    end
end,
addEntry = function(slots, time, count)
    local ____slots_60 = slots
    local chunks = ____slots_60.chunks
    local firsts = ____slots_60.firsts
    local totals = ____slots_60.totals
    slots.lastAt = slots.size == 0 and time or (time < slots.lastAt and slots.lastAt or time)
    slots.size = slots.size + count
    slots.isChanged = true
    local place = #chunks - 1
    while place > 0 and (firsts[place + 1] or 0) > time do
        place = place - 1
    end
    if place < 0 then
        slots.chunks = {Model.makeChunk(slots, time, count)}
        slots.firsts = {time}
        slots.totals = {count}
        return
    end
    local chunk = Model.chunkAt(slots, place)
    local times = chunk.times
    local counts = chunk.counts
    local first = place == 0 and slots.head or 0
    local index = #times
    while index > first and (times[index] or 0) > time do
        index = index - 1
    end
    if index > first and times[index] == time then
        counts[index] = (counts[index] or 0) + count
    elseif #times < 64 then
        Model.insertAt(times, index, time)
        Model.insertAt(counts, index, count)
    elseif index == 64 then
        Model.insertChunk(slots, place + 1, time, count)
        return
    elseif first > 0 then
        do
            local i = first
            while i < index do
                times[i] = times[i + 1] or 0
                counts[i] = counts[i + 1] or 0
                i = i + 1
            end
        end
        times[index] = time
        counts[index] = count
        slots.head = slots.head - 1
    else
        Model.cutChunk(slots, place, index)
        times[#times + 1] = time
        counts[#counts + 1] = count
    end
    chunk.isChanged = true
    totals[place + 1] = (totals[place + 1] or 0) + count
    if index == first then
        firsts[place + 1] = time
    end
end,
takeSlotsUntil = function(slots, time)
    local before = slots.size
    while (slots.firsts[1] or math.huge) <= time do
        if (slots.firsts[2] or math.huge) <= time then
            Model.dropFirstChunk(slots)
        else
            local Model_chunkAt_result_61 = Model.chunkAt(slots, 0)
            local times = Model_chunkAt_result_61.times
            local counts = Model_chunkAt_result_61.counts
            local taken = 0
            local head = slots.head
            while head < #times and (times[head + 1] or 0) <= time do
                taken = taken + (counts[head + 1] or 0)
                head = head + 1
            end
            Model.moveHead(slots, times, head, taken)
        end
    end
    return before - slots.size
end,
keepLastSlots = function(slots, count)
    while slots.size > count and #slots.chunks > 0 do
        local excess = slots.size - count
        if (slots.totals[1] or 0) <= excess then
            Model.dropFirstChunk(slots)
        else
            local chunk = Model.chunkAt(slots, 0)
            local times = chunk.times
            local counts = chunk.counts
            local taken = 0
            local head = slots.head
            while (counts[head + 1] or math.huge) <= excess do
                taken = taken + (counts[head + 1] or 0)
                excess = excess - (counts[head + 1] or 0)
                head = head + 1
            end
            if excess > 0 and head < #times then
                counts[head + 1] = (counts[head + 1] or 0) - excess
                chunk.isChanged = true
            end
            Model.moveHead(slots, times, head, taken + excess)
        end
    end
end,
chunkAt = function(slots, place)
    local known = slots.chunks[place + 1]
    if known ~= nil and type(known) ~= "number" then
        return known
    end
    local ____slots_65 = slots
    local read = ____slots_65.read
    local isStored = known ~= nil and read ~= nil
    local chunk = isStored and read(known) or Model.makeChunk(slots, 0, 0)
    slots.chunks[place + 1] = chunk
    return chunk
end,
moveHead = function(slots, times, head, taken)
    if head >= #times then
        Model.dropFirstChunk(slots)
        return
    end
    slots.isChanged = true
    slots.head = head
    slots.size = slots.size - taken
    slots.totals[1] = (slots.totals[1] or 0) - taken
    slots.firsts[1] = times[head + 1] or 0
end,
insertAt = function(list, index, value)
    list[#list + 1] = value
    do
        local i = #list - 1
        while i > index do
            local ____list_70 = list
            local ____temp_71 = i + 1
            local ____list_i_69 = list[i]
            if ____list_i_69 == nil then
                ____list_i_69 = value
            end
            ____list_70[____temp_71] = ____list_i_69
            i = i - 1
        end
    end
    list[index + 1] = value
end,
takenByApi = function(bucket, lease)
    if bucket.blockedAt ~= nil and lease.grantedAt <= bucket.blockedAt then
        if bucket.expected > 0 then
            bucket.expected = bucket.expected + 1
        end
        return
    end
    bucket.taken = bucket.taken + 1
    bucket.ceiling = bucket.ceiling + 0.35 / bucket.ceiling < 1024 and bucket.ceiling + 0.35 / bucket.ceiling or 1024
    if Model.showsInFlightLimit(bucket, lease) then
        bucket.expected = 0
        bucket.window = 1024
    end
    if bucket.taken <= bucket.expected then
        return
    end
    bucket.window = bucket.window + 1 < 1024 and bucket.window + 1 or 1024
    if bucket.phase == "metered" and bucket.window > 16 then
        bucket.expected = 0
        bucket.window = 1024
    end
end,
showsInFlightLimit = function(bucket, lease)
    local ____bucket_75 = bucket
    local expected = ____bucket_75.expected
    local taken = ____bucket_75.taken
    local ceiling = ____bucket_75.ceiling
    local guesses = ____bucket_75.guesses
    local blockedAt = ____bucket_75.blockedAt
    if expected == 0 or taken ~= 1 or ceiling >= 1024 then
        return false
    end
    return guesses == 1 and blockedAt ~= nil and lease.grantedAt - blockedAt <= 500
end,
maxOf = function(____bindingPattern0)
    local current
    local previous
    previous = ____bindingPattern0.previous
    current = ____bindingPattern0.current
    if previous == nil or current == nil then
        return current or previous
    end
    return current < previous and previous or current
end,
addToMax = function(max, value, span)
    max.current = (max.current or value) < value and value or (max.current or value)
    max.count = max.count + 1
    if max.count < span then
        return
    end
    max.previous = max.current
    max.current = nil
    max.count = 0
end,
DEFAULT_SPREAD = 0.2,
LEASE_MS = 10000,
answered = function(bucket, lease, wasInFlight, observation, now, random)
    if lease.kind == "first" then
        bucket.firstWaitMs = 1000
    end
    if observation.cost ~= nil then
        Model.correctCost(bucket, lease, observation.cost)
    end
    local ____observation_0 = observation
    local status = ____observation_0.status
    local remaining = ____observation_0.remaining
    local resetAt = ____observation_0.resetAt
    local retryAt = ____observation_0.retryAt
    local isThrottled = status == 429
    if bucket.phase == "metered" and not isThrottled then
        Model.takenByApi(bucket, lease)
    end
    if remaining == nil and not isThrottled then
        if wasInFlight then
            Model.answeredWithoutHeaders(bucket, lease, observation, now)
        end
        return
    end
    if not Model.reportsCount(bucket, observation) then
        Model.refusedByUnknownLimit(bucket, lease)
        if not (bucket.expected > 0 or bucket.expected == 0 and bucket.window == 1024 and bucket.ceiling < 1024) then
            bucket.remaining = 0
        end
        Model.refused(
            bucket,
            lease,
            observation,
            now,
            random
        )
        return
    end
    Model.switchBasis(bucket, observation)
    local isResetPast = resetAt ~= nil and (bucket.basis == "instant" and resetAt - bucket.offsetMs or resetAt) <= now
    local knownResetAt = bucket.resetAt == nil and now or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt)
    local isRefused = isThrottled and (remaining or 0) == 0
    if isResetPast and knownResetAt > now then
        if isRefused and (retryAt or now) > now then
            Model.refused(
                bucket,
                lease,
                observation,
                now,
                random
            )
        end
        return
    end
    local isUnrecorded = (wasInFlight or not lease.recorded) and not isThrottled
    if isUnrecorded and resetAt ~= nil and not isResetPast then
        Model.addCallSlots(bucket, resetAt, lease.cost, now)
    end
    if isRefused and Model.isTest(bucket, lease) then
        Model.learnFromRefusal(
            bucket,
            lease,
            Model.isOtherReset(bucket, observation)
        )
        Model.refused(
            bucket,
            lease,
            observation,
            now,
            random
        )
        return
    end
    local left = Model.totalRemainingOf(bucket, lease, observation) - (bucket.losses - lease.losses - lease.loss)
    local laterMs = Model.resetLaterMs(bucket, observation)
    Model.learnFromOrder(
        bucket,
        lease,
        observation,
        left,
        laterMs
    )
    if not Model.isNewest(
        bucket,
        lease,
        observation,
        left,
        laterMs
    ) then
        Model.keepLaterReset(bucket, observation)
        Model.countedBefore(bucket, lease)
        if not isThrottled then
            Model.learnCost(bucket, lease, now)
        end
        return
    end
    Model.observe(bucket, lease, observation, now)
    if isRefused then
        Model.refused(
            bucket,
            lease,
            observation,
            now,
            random
        )
        return
    end
    if not isThrottled then
        Model.learnCost(bucket, lease, now)
    end
    bucket.forcedAfterMs = 60000
    bucket.guesses = 0
    if lease.trusted then
        bucket.marginMs = bucket.marginMs * 0.99
    end
end,
offer = function(bucket, cost, now)
    return Model.regularOffer(bucket, cost, now) or (now >= Model.forcedCanaryAt(bucket) and "canary" or nil)
end,
isTooCostly = function(bucket, cost)
    local ____bucket_23 = bucket
    local phase = ____bucket_23.phase
    local isLimitStated = ____bucket_23.isLimitStated
    local limit = ____bucket_23.limit
    local share = ____bucket_23.share
    if phase ~= "metered" or not isLimitStated then
        return false
    end
    return cost > limit
end,
maxPrefetched = function(bucket, now)
    if bucket.phase ~= "metered" or bucket.expected > 0 then
        return 0
    end
    if Model.regularOffer(bucket, 1, now) ~= "regular" then
        return 0
    end
    if not (bucket.expected == 0 and bucket.window == 1024 and bucket.ceiling < 1024) then
        return math.huge
    end
    return math.max(
        0,
        math.floor(bucket.ceiling / 2) - bucket.inFlight
    )
end,
granted = function(bucket, kind, now)
    bucket.lastGrantAt = now
    bucket.isCanaryDue = false
    if bucket.share ~= nil then
        Model.shareGranted(
            bucket,
            bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0,
            Model.paceMs(bucket, bucket.limit),
            now
        )
    end
    if kind == "canary" then
        bucket.canaryAt = now
    end
    if kind == "first" then
        bucket.nextFirstAt = now + bucket.firstWaitMs
        bucket.firstWaitMs = bucket.firstWaitMs * 2 < 60000 and bucket.firstWaitMs * 2 or 60000
    end
end,
addLease = function(bucket, cost)
    bucket.inFlight = bucket.inFlight + 1
    bucket.extraInFlight = bucket.extraInFlight + (cost - 1)
end,
endLease = function(bucket, lease)
    bucket.inFlight = bucket.inFlight - 1
    bucket.extraInFlight = bucket.extraInFlight - (lease.cost - 1)
    if lease.kind == "canary" and bucket.canaryAt == lease.grantedAt then
        bucket.canaryAt = nil
    end
end,
available = function(bucket)
    return bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0
end,
periodMs = function(____bindingPattern0)
    local configuredPeriodMs
    local observedPeriodMs
    observedPeriodMs = ____bindingPattern0.observedPeriodMs
    configuredPeriodMs = ____bindingPattern0.configuredPeriodMs
    return Model.maxOf(observedPeriodMs) or configuredPeriodMs
end,
advance = function(bucket, now)
    Model.applyReturns(bucket, now, true)
    if bucket.blockedUntil ~= nil and bucket.blockedUntil <= now then
        bucket.blockedUntil = nil
        Model.startSpending(bucket, now)
        bucket.isCanaryDue = Model.needsCanary(bucket)
    end
    if bucket.share ~= nil then
        Model.advanceShare(bucket, bucket.share, now)
    end
    if bucket.canaryDueAt ~= nil and bucket.canaryDueAt <= now then
        bucket.canaryDueAt = nil
        bucket.isCanaryDue = Model.needsCanary(bucket)
    end
end,
trustsClock = function(bucket, now)
    local ____bucket_42 = bucket
    local lastReturnAt = ____bucket_42.lastReturnAt
    local uncertaintyMs = ____bucket_42.uncertaintyMs
    if lastReturnAt == nil or (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) <= 0 then
        return false
    end
    return now - lastReturnAt <= uncertaintyMs + 2000
end,
isScarce = function(bucket, spread, cost)
    local left = (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) - cost
    local most = Model.maxKept(bucket, spread)
    return left >= 0 and left < most and cost <= bucket.limit - most
end,
mayKeep = function(____bindingPattern0, kind)
    local inFlight
    inFlight = ____bindingPattern0.inFlight
    return kind == "regular" or kind == "canary" and inFlight > 0
end,
packBucket = function(bucket)
    return cmsgpack.pack(
        bucket.phase,
        bucket.hasReportedLimit,
        bucket.limit,
        bucket.isLimitStated,
        bucket.isOwnLimit,
        bucket.remaining,
        bucket.share,
        bucket.spread,
        bucket.inFlight,
        bucket.extraInFlight,
        bucket.losses,
        bucket.returns,
        bucket.observations,
        bucket.observedAt,
        bucket.reportedRemaining,
        bucket.reportedResetAt,
        bucket.stamp,
        bucket.sameWithinMs,
        bucket.uncertaintyMs,
        bucket.countsBefore,
        bucket.basis,
        bucket.offsetMs,
        bucket.resetAt,
        bucket.observedPeriodMs.previous,
        bucket.observedPeriodMs.current,
        bucket.observedPeriodMs.count,
        bucket.configuredPeriodMs,
        bucket.countedUntil,
        bucket.lastReturnAt,
        bucket.marginMs,
        bucket.noiseMs.previous,
        bucket.noiseMs.current,
        bucket.noiseMs.count,
        bucket.last.resetAt,
        bucket.last.left,
        bucket.last.returns,
        bucket.rounded.testAt,
        bucket.rounded.openedAt,
        bucket.rounded.closedMs,
        bucket.rounded.openMs,
        bucket.rounded.isUneven,
        bucket.rounded.failures,
        bucket.doubtful,
        bucket.doubtFrom,
        bucket.doubtUntil,
        bucket.unmatched,
        bucket.othersSpent.previous,
        bucket.othersSpent.current,
        bucket.othersSpent.count,
        bucket.callCost,
        bucket.costFrom,
        bucket.costReturns,
        bucket.costLosses,
        bucket.costCalls,
        bucket.lastFall,
        bucket.blockedUntil,
        bucket.isRetryAfter,
        bucket.blockedAt,
        bucket.blockedObservation,
        bucket.guesses,
        bucket.lastGrantAt,
        bucket.canaryAt,
        bucket.heldUntil,
        bucket.isCanaryDue,
        bucket.canaryDueAt,
        bucket.canaryWaitMs,
        bucket.forcedAfterMs,
        bucket.nextFirstAt,
        bucket.firstWaitMs,
        bucket.taken,
        bucket.expected,
        bucket.window,
        bucket.ceiling
    )
end,
unpackBucket = function(packed)
    local phase,
        hasReportedLimit,
        limit,
        isLimitStated,
        isOwnLimit,
        remaining,
        share,
        spread,
        inFlight,
        extraInFlight,
        losses,
        returns,
        observations,
        observedAt,
        reportedRemaining,
        reportedResetAt,
        stamp,
        sameWithinMs,
        uncertaintyMs,
        countsBefore,
        basis,
        offsetMs,
        resetAt,
        observedPeriodMs_previous,
        observedPeriodMs_current,
        observedPeriodMs_count,
        configuredPeriodMs,
        countedUntil,
        lastReturnAt,
        marginMs,
        noiseMs_previous,
        noiseMs_current,
        noiseMs_count,
        last_resetAt,
        last_left,
        last_returns,
        rounded_testAt,
        rounded_openedAt,
        rounded_closedMs,
        rounded_openMs,
        rounded_isUneven,
        rounded_failures,
        doubtful,
        doubtFrom,
        doubtUntil,
        unmatched,
        othersSpent_previous,
        othersSpent_current,
        othersSpent_count,
        callCost,
        costFrom,
        costReturns,
        costLosses,
        costCalls,
        lastFall,
        blockedUntil,
        isRetryAfter,
        blockedAt,
        blockedObservation,
        guesses,
        lastGrantAt,
        canaryAt,
        heldUntil,
        isCanaryDue,
        canaryDueAt,
        canaryWaitMs,
        forcedAfterMs,
        nextFirstAt,
        firstWaitMs,
        taken,
        expected,
        window,
        ceiling = cmsgpack.unpack(packed)
    return {
        phase = phase,
        hasReportedLimit = hasReportedLimit,
        limit = limit,
        isLimitStated = isLimitStated,
        isOwnLimit = isOwnLimit,
        remaining = remaining,
        share = share,
        spread = spread,
        inFlight = inFlight,
        extraInFlight = extraInFlight,
        losses = losses,
        returns = returns,
        observations = observations,
        observedAt = observedAt,
        reportedRemaining = reportedRemaining,
        reportedResetAt = reportedResetAt,
        stamp = stamp,
        sameWithinMs = sameWithinMs,
        uncertaintyMs = uncertaintyMs,
        countsBefore = countsBefore,
        basis = basis,
        offsetMs = offsetMs,
        resetAt = resetAt,
        observedPeriodMs = {previous = observedPeriodMs_previous, current = observedPeriodMs_current, count = observedPeriodMs_count},
        configuredPeriodMs = configuredPeriodMs,
        countedUntil = countedUntil,
        lastReturnAt = lastReturnAt,
        marginMs = marginMs,
        noiseMs = {previous = noiseMs_previous, current = noiseMs_current, count = noiseMs_count},
        last = {resetAt = last_resetAt, left = last_left, returns = last_returns},
        rounded = {testAt = rounded_testAt, openedAt = rounded_openedAt, closedMs = rounded_closedMs, openMs = rounded_openMs, isUneven = rounded_isUneven, failures = rounded_failures},
        doubtful = doubtful,
        doubtFrom = doubtFrom,
        doubtUntil = doubtUntil,
        unmatched = unmatched,
        othersSpent = {previous = othersSpent_previous, current = othersSpent_current, count = othersSpent_count},
        callCost = callCost,
        costFrom = costFrom,
        costReturns = costReturns,
        costLosses = costLosses,
        costCalls = costCalls,
        lastFall = lastFall,
        blockedUntil = blockedUntil,
        isRetryAfter = isRetryAfter,
        blockedAt = blockedAt,
        blockedObservation = blockedObservation,
        guesses = guesses,
        lastGrantAt = lastGrantAt,
        canaryAt = canaryAt,
        heldUntil = heldUntil,
        isCanaryDue = isCanaryDue,
        canaryDueAt = canaryDueAt,
        canaryWaitMs = canaryWaitMs,
        forcedAfterMs = forcedAfterMs,
        nextFirstAt = nextFirstAt,
        firstWaitMs = firstWaitMs,
        taken = taken,
        expected = expected,
        window = window,
        ceiling = ceiling
    }
end,
function()
return lazily({
afterBlock = function(bucket, at, now)
    local ____bucket_14 = bucket
    local blockedUntil = ____bucket_14.blockedUntil
    local start = (blockedUntil or now) < now and now or (blockedUntil or now)
    if at == nil then
        local ____temp_15
        if blockedUntil == nil then
            ____temp_15 = nil
        else
            ____temp_15 = start
        end
        return ____temp_15
    end
    return at < start and start or at
end,
etaUnblocked = function(bucket, rank, now)
    if bucket.phase ~= "metered" then
        return nil
    end
    local left = (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) < 0 and 0 or (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0)
    local ahead = rank - left - 1
    if ahead < 0 then
        return Model.nthAvailableAt(bucket, rank, left, now)
    end
    if bucket.share == nil then
        return Model.nthGrantAt(bucket, ahead, bucket.limit)
    end
    local returnAt = Model.nthGrantAt(bucket, ahead, bucket.slots.size < bucket.limit and bucket.limit or bucket.slots.size)
    local extraAt = Model.nthExtraAt(
        bucket,
        ahead,
        Model.paceMs(bucket, bucket.limit)
    )
    return extraAt < (returnAt or math.huge) and extraAt or returnAt
end,
nthAvailableAt = function(bucket, rank, left, now)
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if period == nil then
        return now
    end
    local ____bucket_16 = bucket
    local stated = ____bucket_16.stated
    local free = left
    if stated ~= nil then
        local Model_statedReserveAt_result_17 = Model.statedReserveAt(bucket, stated.owed, now)
        local kept = Model_statedReserveAt_result_17.kept
        local releaseAt = Model_statedReserveAt_result_17.releaseAt
        free = free - kept
        if kept > 0 and rank > free then
            local most = math.min(
                stated.owed,
                bucket.stated == nil and 0 or Model.statedOperations(bucket, bucket.stated.part)
            )
            return releaseAt + (rank - free - 1) * Model.statedEveryMs(bucket, most, period)
        end
    end
    if rank <= free - Model.maxKept(bucket, bucket.spread) then
        return now
    end
    local Model_reserveAt_result_18 = Model.reserveAt(bucket, now)
    local kept = Model_reserveAt_result_18.kept
    local releaseAt = Model_reserveAt_result_18.releaseAt
    local releases = kept - (free - rank)
    return releases <= 0 and now or releaseAt + (releases - 1) * (period / (bucket.limit * bucket.spread < 4 and 4 or bucket.limit * bucket.spread))
end,
nthGrantAt = function(bucket, n, limit)
    local at = Model.nthReturnAt(bucket, n, limit)
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if at == nil or period == nil then
        return at
    end
    local most = Model.maxKept(bucket, bucket.spread)
    local everyMs = period / (bucket.limit * bucket.spread < 4 and 4 or bucket.limit * bucket.spread)
    local ofCallers = bucket.stated == nil and 0 or Model.statedOperations(bucket, bucket.stated.part)
    if ofCallers == 0 then
        return Model.nthOfLastAt(
            bucket,
            n,
            limit,
            at,
            most,
            everyMs
        ) or at
    end
    local everyStatedMs = Model.statedEveryMs(bucket, ofCallers, period)
    local statedAt = Model.nthOfLastAt(
        bucket,
        n,
        limit,
        at,
        ofCallers,
        everyStatedMs
    )
    if statedAt ~= nil then
        return statedAt
    end
    local beforeAt = Model.nthReturnAt(bucket, n + ofCallers, limit) or at
    local keptAt = Model.nthOfLastAt(
        bucket,
        n + ofCallers,
        limit,
        beforeAt,
        most,
        everyMs
    ) or at
    return keptAt < at and at or keptAt
end,
nthOfLastAt = function(bucket, n, limit, at, most, everyMs)
    if most == 0 then
        return nil
    end
    local nextFrom = at + everyMs
    if (Model.nthReturnAt(bucket, n + most, limit) or at) < nextFrom then
        return nil
    end
    local further = 1
    local high = most
    while further < high do
        local middle = math.floor((further + high) / 2)
        if (Model.nthReturnAt(bucket, n + middle, limit) or at) >= nextFrom then
            high = middle
        else
            further = middle + 1
        end
    end
    return math.max(
        at,
        (Model.nthReturnAt(bucket, n + further, limit) or at) - further * everyMs
    )
end,
nthReturnAt = function(bucket, n, limit)
    local ____bucket_19 = bucket
    local slots = ____bucket_19.slots
    local resetAt = ____bucket_19.resetAt
    local refillAt = bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    local check = Model.checkAt(bucket)
    local uncounted = check == math.huge and 0 or math.max(
        0,
        math.min(
            bucket.doubtful,
            bucket.unmatched - (Model.maxOf(bucket.othersSpent) or 0)
        )
    )
    if n < uncounted then
        return check
    end
    local periods = math.floor((n - uncounted) / limit)
    local rank = n - uncounted - periods * limit
    local beforeReset = resetAt == nil and slots.size or Model.countSlotsBefore(slots, resetAt)
    local ____temp_20
    if rank < beforeReset then
        ____temp_20 = Model.nthSlotAt(slots, rank)
    else
        ____temp_20 = nil
    end
    local slotAt = ____temp_20
    local at = slotAt == nil and refillAt or (bucket.basis == "instant" and slotAt - bucket.offsetMs or slotAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    if at == math.huge then
        return nil
    end
    if periods == 0 then
        return at
    end
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    local ____temp_21
    if period == nil then
        ____temp_21 = nil
    else
        ____temp_21 = at + periods * period
    end
    return ____temp_21
end,
sooner = function(at, time, now)
    return time ~= nil and time > now and time < at and time or at
end,
nthExtraAt = function(bucket, ahead, paceMs)
    local ____bucket_57 = bucket
    local share = ____bucket_57.share
    if share == nil then
        return math.huge
    end
    local ____share_58 = share
    local replicas = ____share_58.replicas
    local remaining = share.totalRemaining - (bucket.inFlight + bucket.extraInFlight)
    if ahead >= (bucket.slots.size + (bucket.inFlight + bucket.extraInFlight) >= bucket.limit and remaining - replicas + 1 or remaining) then
        return math.huge
    end
    return remaining >= replicas and share.borrowAt + ahead * paceMs or share.reclaimAt + ahead * paceMs * replicas
end,
countSlotsBefore = function(slots, time)
    local ____slots_62 = slots
    local firsts = ____slots_62.firsts
    local totals = ____slots_62.totals
    local count = 0
    local place = 0
    while (firsts[place + 1 + 1] or math.huge) <= time do
        count = count + (totals[place + 1] or 0)
        place = place + 1
    end
    if (firsts[place + 1] or math.huge) >= time then
        return count
    end
    local Model_chunkAt_result_63 = Model.chunkAt(slots, place)
    local times = Model_chunkAt_result_63.times
    local counts = Model_chunkAt_result_63.counts
    local index = place == 0 and slots.head or 0
    while index < #times and (times[index + 1] or 0) < time do
        count = count + (counts[index + 1] or 0)
        index = index + 1
    end
    return count
end,
nthSlotAt = function(slots, n)
    if n >= slots.size then
        return nil
    end
    local left = n
    local place = 0
    while left >= (slots.totals[place + 1] or math.huge) do
        left = left - (slots.totals[place + 1] or 0)
        place = place + 1
    end
    local Model_chunkAt_result_64 = Model.chunkAt(slots, place)
    local times = Model_chunkAt_result_64.times
    local counts = Model_chunkAt_result_64.counts
    local index = place == 0 and slots.head or 0
    while left >= (counts[index + 1] or math.huge) do
        left = left - (counts[index + 1] or 0)
        index = index + 1
    end
    return times[index + 1]
end,
forcedCanaryAt = function(bucket)
    local ____bucket_74 = bucket
    local blockedUntil = ____bucket_74.blockedUntil
    local isRetryAfter = ____bucket_74.isRetryAfter
    local forcedAfterMs = ____bucket_74.forcedAfterMs
    local lastGrantAt = ____bucket_74.lastGrantAt
    if bucket.isOwnLimit then
        return math.huge
    end
    local isUnderRetryAfter = blockedUntil ~= nil and isRetryAfter
    return lastGrantAt + (isUnderRetryAfter and (3600000 < forcedAfterMs and forcedAfterMs or 3600000) or (forcedAfterMs < 900000 and forcedAfterMs or 900000))
end,
eta = function(bucket, rank, now)
    return Model.afterBlock(
        bucket,
        Model.etaUnblocked(bucket, rank, now),
        now
    )
end,
etaInShare = function(bucket, rank, now)
    if bucket.phase ~= "metered" then
        return Model.afterBlock(bucket, nil, now)
    end
    local left = (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) < 0 and 0 or (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0)
    local limit = bucket.slots.size < bucket.limit and bucket.limit or bucket.slots.size
    return Model.afterBlock(
        bucket,
        rank <= left and now or Model.nthReturnAt(bucket, rank - left - 1, limit),
        now
    )
end,
nextWakeAt = function(bucket, oldestAt, now)
    local check = Model.checkAt(bucket)
    local at = Model.sooner(
        now + 900000,
        Model.forcedCanaryAt(bucket),
        now
    )
    at = bucket.blockedUntil ~= nil and bucket.blockedUntil > now and bucket.blockedUntil < at and bucket.blockedUntil or at
    at = Model.sooner(
        at,
        Model.nextSlotAt(bucket),
        now
    )
    at = Model.sooner(
        at,
        bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0)),
        now
    )
    if bucket.inFlight == 0 then
        at = check ~= nil and check > now and check < at and check or at
    end
    at = bucket.heldUntil ~= nil and bucket.heldUntil > now and bucket.heldUntil < at and bucket.heldUntil or at
    at = Model.sooner(at, math.huge, now)
    local Model_sooner_27 = Model.sooner
    local ____at_26 = at
    local ____opt_24 = bucket.share
    at = Model_sooner_27(____at_26, ____opt_24 and ____opt_24.setAsideUntil, now)
    at = bucket.canaryDueAt ~= nil and bucket.canaryDueAt > now and bucket.canaryDueAt < at and bucket.canaryDueAt or at
    if Model.maxKept(bucket, bucket.spread) > 0 then
        at = Model.sooner(
            at,
            Model.reserveAt(bucket, now).releaseAt,
            now
        )
    end
    if bucket.stated ~= nil then
        at = Model.sooner(
            at,
            Model.statedReserveAt(bucket, bucket.stated.owed, now).releaseAt,
            now
        )
    end
    if bucket.phase == "unopened" then
        at = bucket.nextFirstAt ~= nil and bucket.nextFirstAt > now and bucket.nextFirstAt < at and bucket.nextFirstAt or at
    end
    local dependsOnLeases = bucket.expected > 0 or bucket.expected == 0 and bucket.window == 1024 and bucket.ceiling < 1024 and bucket.inFlight >= Model.maxInFlight(bucket) or bucket.share ~= nil or bucket.canaryAt ~= nil or bucket.phase ~= "metered" or check < math.huge
    if dependsOnLeases and oldestAt ~= nil then
        at = Model.sooner(at, oldestAt + 10000, now)
    end
    return now < at and at or now
end,
function()
return lazily({
reserveAt = function(bucket, now)
    local most = Model.maxKept(bucket, bucket.spread)
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if most == 0 or period == nil then
        return {kept = 0, releaseAt = math.huge}
    end
    local lastAt = bucket.inFlight > 0 and now + period or math.huge
    return Model.keptUntilReturns(
        bucket,
        most,
        period / (bucket.limit * bucket.spread < 4 and 4 or bucket.limit * bucket.spread),
        lastAt,
        now
    )
end,
keptUntilReturns = function(bucket, most, everyMs, lastAt, now)
    local ____bucket_43 = bucket
    local slots = ____bucket_43.slots
    local refillAt = bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    local returning = bucket.limit - (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) - (bucket.inFlight + bucket.extraInFlight)
    local shift = now - (bucket.basis == "instant" and now + bucket.offsetMs or now) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    local chunk = #slots.chunks > 0 and Model.chunkAt(slots, 0) or nil
    local kept = 0
    local releaseAt = math.huge
    local before = 0
    local entry = slots.head
    local place = 1
    local isRefilled = false
    while before < most do
        local isEntry = chunk ~= nil and entry < #chunk.times
        local ____isEntry_44
        if isEntry then
            ____isEntry_44 = chunk.times[entry + 1]
        else
            ____isEntry_44 = slots.firsts[place + 1]
        end
        local stored = ____isEntry_44
        local returnAt = stored == nil and refillAt or (stored + shift < refillAt and stored + shift or refillAt)
        local at = (isRefilled or returnAt == math.huge) and lastAt or returnAt
        if at == math.huge then
            return {kept = kept, releaseAt = releaseAt}
        end
        local needed = math.ceil((at - now) / everyMs - 0.000001) - 1 - before
        local wanted = needed < most and needed or most
        if wanted > 0 and wanted >= kept then
            local lessAt = at - (wanted + before) * everyMs
            releaseAt = wanted > kept and lessAt or (lessAt < releaseAt and releaseAt or lessAt)
            kept = wanted
        end
        if at == lastAt then
            return {kept = kept, releaseAt = releaseAt}
        end
        if at == refillAt then
            isRefilled = true
            before = returning < before and before or returning
        else
            local ____isEntry_45
            if isEntry then
                ____isEntry_45 = chunk.counts[entry + 1]
            else
                ____isEntry_45 = slots.totals[place + 1]
            end
            before = before + (____isEntry_45 or 0)
            if isEntry then
                entry = entry + 1
            else
                place = place + 1
            end
        end
    end
    return {kept = kept, releaseAt = releaseAt}
end,
statedOperations = function(____bindingPattern0, part)
    local isOwnLimit
    local limit
    local phase
    phase = ____bindingPattern0.phase
    limit = ____bindingPattern0.limit
    isOwnLimit = ____bindingPattern0.isOwnLimit
    if part <= 0 or phase ~= "metered" or isOwnLimit then
        return 0
    end
    return math.max(
        0,
        math.min(
            limit - 1,
            math.max(
                1,
                math.floor(limit * part + 1e-9)
            )
        )
    )
end,
returnsTogether = function(bucket)
    local ____bucket_72 = bucket
    local slots = ____bucket_72.slots
    local resetAt = ____bucket_72.resetAt
    local sameWithinMs = ____bucket_72.sameWithinMs
    local first = slots.firsts[1]
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if first == nil or period == nil then
        return true
    end
    local last = resetAt or slots.lastAt
    return last - first <= period * 0.05 + sameWithinMs + (Model.maxOf(bucket.noiseMs) or 0)
end,
statedEveryMs = function(bucket, most, period)
    local releaseMs = Model.returnsTogether(bucket) and (period / 2 < (1000 < period * 0.1 and period * 0.1 or 1000) and period / 2 or (1000 < period * 0.1 and period * 0.1 or 1000)) or period
    return releaseMs / most
end,
statedReserveAt = function(bucket, owed, now)
    local most = math.min(
        owed,
        bucket.stated == nil and 0 or Model.statedOperations(bucket, bucket.stated.part)
    )
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if most <= 0 or period == nil then
        return {kept = 0, releaseAt = math.huge}
    end
    local isWindow = Model.returnsTogether(bucket) and (bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))) < math.huge
    local lastAt = bucket.inFlight > 0 and not isWindow and now + period or math.huge
    return Model.keptUntilReturns(
        bucket,
        most,
        Model.statedEveryMs(bucket, most, period),
        lastAt,
        now
    )
end,
isKept = function(bucket, cost, now)
    if not Model.isScarce(bucket, bucket.spread, cost) then
        return false
    end
    return (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) - cost < Model.reserveAt(bucket, now).kept
end,
usedOfShare = function(bucket, used, usedAt, now)
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    if Model.returnsTogether(bucket) or period == nil then
        return usedAt < (bucket.lastReturnAt or 0) and 0 or used
    end
    return used * (1 - (now - usedAt) / period < 0 and 0 or 1 - (now - usedAt) / period)
end,
owedOperations = function(bucket, part, used)
    return math.max(
        0,
        math.floor(Model.statedOperations(bucket, part) - used + 1e-9)
    )
end,
fitsBesideShares = function(bucket, cost)
    return cost <= bucket.limit - (bucket.stated == nil and 0 or Model.statedOperations(bucket, bucket.stated.part))
end,
keptForOthers = function(bucket, own, cost, now)
    local ____bucket_73 = bucket
    local stated = ____bucket_73.stated
    if stated == nil or own >= cost or not (cost <= bucket.limit - (bucket.stated == nil and 0 or Model.statedOperations(bucket, bucket.stated.part))) then
        return 0
    end
    local others = stated.owed - own < 0 and 0 or stated.owed - own
    local left = (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) - cost
    if others == 0 or left < 0 then
        return 0
    end
    if left >= others + bucket.limit / 2 then
        return others
    end
    return Model.statedReserveAt(bucket, others, now).kept
end,
function()
return {
answeredWithoutHeaders = function(bucket, lease, observation, now)
    local ____observation_1 = observation
    local status = ____observation_1.status
    local resetAt = ____observation_1.resetAt
    if bucket.phase == "metered" then
        local isUncounted = bucket.hasReportedLimit and status >= 400 and status < 500
        if isUncounted then
            return
        end
        Model.switchBasis(bucket, observation)
        if lease.kind == "canary" and status < 400 and (bucket.heldUntil ~= nil and now < bucket.heldUntil) then
            bucket.heldUntil = nil
            if bucket.share == nil then
                bucket.remaining = bucket.limit
            end
        end
        Model.countUnreported(bucket, lease.cost, now, resetAt)
        return
    end
    if bucket.phase == "unopened" then
        bucket.nextFirstAt = 0
    end
    if status < 200 or status >= 300 then
        return
    end
    bucket.phase = "unmetered"
    Model.takenByApi(bucket, lease)
    if bucket.blockedAt == nil or lease.grantedAt > bucket.blockedAt then
        bucket.guesses = 0
    end
end,
refused = function(bucket, lease, observation, now, random)
    local ____bucket_8 = bucket
    local blockedUntil = ____bucket_8.blockedUntil
    local blockedAt = ____bucket_8.blockedAt
    bucket.costFrom = nil
    if lease.trusted then
        local widerMs = 50 < bucket.marginMs * 2 and bucket.marginMs * 2 or 50
        bucket.marginMs = widerMs < observation.uncertaintyMs + 2000 and widerMs or observation.uncertaintyMs + 2000
    end
    if lease.kind == "canary" then
        Model.delayForcedCanary(bucket, now)
    end
    local isSameRefusal = blockedUntil ~= nil and blockedAt ~= nil and lease.grantedAt <= blockedAt
    local retryAt = Model.instructedRetryAt(bucket, observation)
    local hasRetryAfter = retryAt ~= nil and retryAt > now
    if isSameRefusal and not hasRetryAfter and bucket.isRetryAfter then
        return
    end
    bucket.canaryDueAt = nil
    bucket.blockedObservation = bucket.observations
    bucket.isRetryAfter = hasRetryAfter
    if not isSameRefusal then
        bucket.blockedAt = now
    end
    local isBesideOthers = bucket.inFlight > 0 or bucket.expected == 0 and bucket.window == 1024 and bucket.ceiling < 1024
    local isUnreported = observation.remaining == nil and bucket.hasReportedLimit and bucket.remaining > 0
    local mayBeInFlight = isUnreported and (isBesideOthers or bucket.ceiling < 1024)
    local nextReturnAt = math.min(
        Model.nextSlotAt(bucket),
        bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    )
    if hasRetryAfter then
        bucket.blockedUntil = retryAt
        bucket.guesses = 0
    elseif nextReturnAt > now and nextReturnAt < math.huge and not mayBeInFlight then
        bucket.blockedUntil = nextReturnAt
        bucket.guesses = 0
    elseif not isSameRefusal then
        bucket.blockedUntil = now + Model.nextGuessMs(bucket, isBesideOthers, random)
    end
end,
instructedRetryAt = function(____bindingPattern0, ____bindingPattern1)
    local offsetMs
    offsetMs = ____bindingPattern0.offsetMs
    local basis
    local retryAt
    local resetAt
    local remaining
    remaining = ____bindingPattern1.remaining
    resetAt = ____bindingPattern1.resetAt
    retryAt = ____bindingPattern1.retryAt
    basis = ____bindingPattern1.basis
    if retryAt ~= nil or remaining ~= nil or resetAt == nil then
        return retryAt
    end
    return basis == "instant" and resetAt - offsetMs or resetAt
end,
delayForcedCanary = function(bucket, now)
    local ____bucket_9 = bucket
    local blockedUntil = ____bucket_9.blockedUntil
    local isRetryAfter = ____bucket_9.isRetryAfter
    local forcedAfterMs = ____bucket_9.forcedAfterMs
    local isUnderRetryAfter = isRetryAfter and blockedUntil ~= nil and blockedUntil > now
    bucket.forcedAfterMs = isUnderRetryAfter and ((3600000 < forcedAfterMs and forcedAfterMs or 3600000) * 2 < 86400000 and (3600000 < forcedAfterMs and forcedAfterMs or 3600000) * 2 or 86400000) or (forcedAfterMs * 2 < 900000 and forcedAfterMs * 2 or 900000)
end,
nextGuessMs = function(bucket, isBesideOthers, random)
    local firstMs = isBesideOthers and 250 or 1000
    local maxMs = firstMs * 2 ^ bucket.guesses < 60000 and firstMs * 2 ^ bucket.guesses or 60000
    bucket.guesses = bucket.guesses + 1 < 16 and bucket.guesses + 1 or 16
    return math.max(
        50,
        maxMs * random()
    )
end,
correctCost = function(bucket, lease, cost)
    if lease.cost == bucket.callCost then
        bucket.callCost = cost < 1 and 1 or cost
    end
    lease.cost = cost
    Model.boundCost(bucket)
end,
addKnownSlots = function(bucket, slots, now)
    local spanMs = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs or 0
    for ____, ____value in ipairs(slots) do
        local at = ____value[1]
        spanMs = at - now < spanMs and spanMs or at - now
    end
    for ____, ____value in ipairs(slots) do
        local at = ____value[1]
        local count = ____value[2]
        if at > now then
            Model.addSlots(bucket.slots, at, count, spanMs)
        end
    end
end,
rememberPeriod = function(bucket, ____bindingPattern0)
    local limit
    local periodMs
    periodMs = ____bindingPattern0.periodMs
    limit = ____bindingPattern0.limit
    if periodMs == nil then
        return
    end
    Model.addToMax(bucket.observedPeriodMs, periodMs, 2 * limit < 64 and 64 or 2 * limit)
end,
fromLocal = function(____bindingPattern0, localTime)
    local offsetMs
    local basis
    basis = ____bindingPattern0.basis
    offsetMs = ____bindingPattern0.offsetMs
    return basis == "instant" and localTime + offsetMs or localTime
end,
needsCanary = function(bucket)
    if (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) <= 0 then
        return true
    end
    local nextReturnAt = math.min(
        Model.nextSlotAt(bucket),
        bucket.resetAt == nil and math.huge or (bucket.basis == "instant" and bucket.resetAt - bucket.offsetMs or bucket.resetAt) + (bucket.marginMs + (Model.maxOf(bucket.noiseMs) or 0))
    )
    return bucket.inFlight == 0 and nextReturnAt == math.huge
end,
paceMs = function(bucket, limit)
    local period = Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs
    return period == nil and 1000 or period / limit
end,
countLost = function(bucket, cost, now)
    local ____bucket_32 = bucket
    local resetAt = ____bucket_32.resetAt
    local configuredPeriodMs = ____bucket_32.configuredPeriodMs
    local hasReturnTime = resetAt ~= nil or configuredPeriodMs ~= nil
    local periodFromNow = Model.fromLocal(
        bucket,
        now + (Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs or 0)
    )
    local latestAt = periodFromNow < (resetAt or periodFromNow) and (resetAt or periodFromNow) or periodFromNow
    Model.countUntil(bucket, cost, now, hasReturnTime and latestAt or nil)
    return hasReturnTime and bucket.phase == "metered"
end,
advanceShare = function(bucket, share, now)
    local ____share_35 = share
    local setAsideUntil = ____share_35.setAsideUntil
    local observedAt = ____share_35.observedAt
    if setAsideUntil ~= nil and setAsideUntil <= now then
        share.setAsideUntil = nil
    end
    local isStale = observedAt ~= nil and now - observedAt > 1000
    local isUnverified = isStale and bucket.inFlight == 0 and (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) > 0
    if isUnverified and not (bucket.heldUntil ~= nil and now < bucket.heldUntil) then
        Model.holdOthers(bucket, now)
    end
end,
refillByReset = function(bucket, at)
    local ____bucket_38 = bucket
    local slots = ____bucket_38.slots
    local resetAt = ____bucket_38.resetAt
    bucket.returns = bucket.returns + slots.size
    if resetAt ~= nil then
        Model.takeSlotsUntil(slots, resetAt)
    end
    local nextRefillAt = Model.fromLocal(
        bucket,
        at + (Model.maxOf(bucket.observedPeriodMs) or bucket.configuredPeriodMs or 0) + 1
    )
    bucket.remaining = math.max(
        0,
        bucket.limit - Model.countSlotsBefore(slots, nextRefillAt)
    )
    Model.clearSlots(slots)
    bucket.resetAt = nil
    Model.startSpending(bucket, at)
    bucket.isCanaryDue = Model.needsCanary(bucket)
    Model.holdOthers(bucket, at)
end,
learnFromRefusal = function(bucket, ____bindingPattern0, isOther)
    local grantedAt
    grantedAt = ____bindingPattern0.grantedAt
    local ____bucket_50 = bucket
    local rounded = ____bucket_50.rounded
    local resetAt = ____bucket_50.resetAt
    local sameWithinMs = ____bucket_50.sameWithinMs
    rounded.failures = rounded.failures + (isOther and 4 or 1)
    local ____rounded_51 = rounded
    local openedAt = ____rounded_51.openedAt
    rounded.testAt = nil
    rounded.openedAt = nil
    if resetAt == nil then
        return
    end
    local latestAt = bucket.basis == "instant" and resetAt - bucket.offsetMs or resetAt
    if grantedAt >= latestAt - sameWithinMs and Model.isEven(Model.reportedAt(bucket)) then
        rounded.isUneven = true
    end
    if openedAt == nil then
        return
    end
    local sinceMs = grantedAt - openedAt
    local isKnown = rounded.closedMs < latestAt - openedAt
    rounded.closedMs = isKnown and (sinceMs < rounded.closedMs and rounded.closedMs or sinceMs) or sinceMs
    if rounded.openMs <= rounded.closedMs then
        rounded.openMs = rounded.closedMs + 50
    end
end,
reportedAt = function(____bindingPattern0)
    local sameWithinMs
    local reportedResetAt
    local basis
    local stamp
    stamp = ____bindingPattern0.stamp
    basis = ____bindingPattern0.basis
    reportedResetAt = ____bindingPattern0.reportedResetAt
    sameWithinMs = ____bindingPattern0.sameWithinMs
    local ____stamp_53 = stamp
    if ____stamp_53 == nil then
        local ____temp_52
        if basis == "instant" then
            ____temp_52 = reportedResetAt
        else
            ____temp_52 = nil
        end
        ____stamp_53 = ____temp_52
    end
    local at = ____stamp_53
    local ____temp_54
    if at == nil then
        ____temp_54 = nil
    else
        ____temp_54 = at - sameWithinMs
    end
    return ____temp_54
end,
isEven = function(at)
    return at ~= nil and at == math.floor(at / 10000) * 10000
end,
startSpending = function(bucket, now)
    local ____bucket_55 = bucket
    local share = ____bucket_55.share
    if share == nil then
        return
    end
    local own = bucket.remaining
    share.measuresFrom = now + 1000
    share.isMeasured = false
    if own > 1 then
        share.setAsideUntil = now + 1000
    end
end,
shareGranted = function(bucket, own, paceMs, now)
    local ____bucket_56 = bucket
    local share = ____bucket_56.share
    local limit = ____bucket_56.limit
    if share == nil then
        return
    end
    local isBurst = own > 0 and own * 4 >= limit
    if isBurst then
        share.measuresFrom = now + 1000
        share.isMeasured = false
    end
    share.borrowAt = now + (isBurst and 1000 or paceMs) < share.borrowAt and share.borrowAt or now + (isBurst and 1000 or paceMs)
    share.reclaimAt = now + paceMs * share.replicas < share.borrowAt and share.borrowAt or now + paceMs * share.replicas
end,
makeSlots = function()
    return {
        size = 0,
        lastAt = 0,
        head = 0,
        chunks = {},
        firsts = {},
        totals = {},
        isChanged = true,
        made = 0,
        read = nil
    }
end,
moveSlots = function(slots, ms)
    slots.isChanged = true
    slots.lastAt = slots.lastAt + ms
    do
        local place = 0
        while place < #slots.chunks do
            slots.firsts[place + 1] = (slots.firsts[place + 1] or 0) + ms
            local chunk = Model.chunkAt(slots, place)
            do
                local i = 0
                while i < #chunk.times do
                    chunk.times[i + 1] = (chunk.times[i + 1] or 0) + ms
                    i = i + 1
                end
            end
            chunk.isChanged = true
            place = place + 1
        end
    end
end,
clearSlots = function(slots)
    slots.isChanged = true
    slots.size = 0
    slots.head = 0
    slots.chunks = {}
    slots.firsts = {}
    slots.totals = {}
end,
makeChunk = function(slots, time, count)
    slots.made = slots.made + 1
    return {id = slots.made, times = {time}, counts = {count}, isChanged = true}
end,
insertChunk = function(slots, place, time, count)
    Model.insertAt(
        slots.chunks,
        place,
        Model.makeChunk(slots, time, count)
    )
    Model.insertAt(slots.firsts, place, time)
    Model.insertAt(slots.totals, place, count)
end,
cutChunk = function(slots, place, index)
    local Model_chunkAt_result_66 = Model.chunkAt(slots, place)
    local times = Model_chunkAt_result_66.times
    local counts = Model_chunkAt_result_66.counts
    Model.insertChunk(slots, place + 1, times[index + 1] or 0, counts[index + 1] or 0)
    local rest = Model.chunkAt(slots, place + 1)
    local total = counts[index + 1] or 0
    do
        local i = index + 1
        while i < #times do
            local ____rest_times_67 = rest.times
            ____rest_times_67[#____rest_times_67 + 1] = times[i + 1] or 0
            local ____rest_counts_68 = rest.counts
            ____rest_counts_68[#____rest_counts_68 + 1] = counts[i + 1] or 0
            total = total + (counts[i + 1] or 0)
            i = i + 1
        end
    end
    while #times > index do
        table.remove(times)
        table.remove(counts)
    end
    slots.totals[place + 1] = (slots.totals[place + 1] or 0) - total
    slots.totals[place + 1 + 1] = total
end,
mergeFirstChunk = function(slots)
    local total = slots.totals[1] or 0
    Model.dropFirstChunk(slots)
    local next = Model.chunkAt(slots, 0)
    next.counts[1] = (next.counts[1] or 0) + total
    next.isChanged = true
    slots.totals[1] = (slots.totals[1] or 0) + total
    slots.size = slots.size + total
end,
dropFirstChunk = function(slots)
    slots.isChanged = true
    slots.size = slots.size - (slots.totals[1] or 0)
    slots.head = 0
    table.remove(slots.chunks, 1)
    table.remove(slots.firsts, 1)
    table.remove(slots.totals, 1)
end,
holdOthers = function(bucket, at)
    bucket.heldUntil = at + bucket.uncertaintyMs + 1000
end,
scheduleCanary = function(bucket, now)
    if bucket.canaryDueAt ~= nil then
        return
    end
    bucket.canaryDueAt = now + bucket.canaryWaitMs
    bucket.canaryWaitMs = bucket.canaryWaitMs * 2 < 60000 and bucket.canaryWaitMs * 2 or 60000
end,
maxInFlight = function(____bindingPattern0)
    local ceiling
    local window
    local taken
    local expected
    expected = ____bindingPattern0.expected
    taken = ____bindingPattern0.taken
    window = ____bindingPattern0.window
    ceiling = ____bindingPattern0.ceiling
    if expected > 0 and taken == 0 then
        return 1
    end
    return math.min(
        math.floor(ceiling),
        window < expected - taken and expected - taken or window
    )
end,
refusedByUnknownLimit = function(bucket, lease)
    if bucket.blockedAt ~= nil and lease.grantedAt <= bucket.blockedAt then
        return
    end
    if bucket.expected == 0 and bucket.window == 1024 and bucket.ceiling < 1024 and bucket.taken > bucket.ceiling then
        bucket.ceiling = bucket.ceiling * 0.75 < 1 and 1 or bucket.ceiling * 0.75
    else
        local inFlight = bucket.inFlight + 1
        if inFlight > 1 then
            bucket.ceiling = inFlight * 0.75 < 1 and 1 or inFlight * 0.75
        end
        local isOther = bucket.hasReportedLimit and inFlight > 1 and bucket.remaining > 0
        if bucket.taken > 0 or isOther then
            bucket.expected = bucket.taken < 1 and 1 or bucket.taken
        end
        bucket.window = 1
    end
    bucket.taken = 0
end,
makeBucket = function(now)
    return {
        phase = "unopened",
        hasReportedLimit = false,
        limit = 0,
        isLimitStated = false,
        isOwnLimit = false,
        remaining = 0,
        share = nil,
        spread = 0,
        stated = nil,
        inFlight = 0,
        extraInFlight = 0,
        losses = 0,
        returns = 0,
        observations = 0,
        observedAt = nil,
        reportedRemaining = 0,
        reportedResetAt = nil,
        stamp = nil,
        sameWithinMs = 0,
        uncertaintyMs = 0,
        countsBefore = false,
        basis = "instant",
        offsetMs = 0,
        slots = Model.makeSlots(),
        resetAt = nil,
        observedPeriodMs = {previous = nil, current = nil, count = 0},
        configuredPeriodMs = nil,
        countedUntil = nil,
        lastReturnAt = nil,
        marginMs = 0,
        noiseMs = {previous = nil, current = nil, count = 0},
        last = {resetAt = nil, left = 0, returns = 0},
        rounded = {
            testAt = nil,
            openedAt = nil,
            closedMs = 0,
            openMs = math.huge,
            isUneven = false,
            failures = 0
        },
        doubtful = 0,
        doubtFrom = nil,
        doubtUntil = nil,
        unmatched = 0,
        othersSpent = {previous = nil, current = nil, count = 0},
        callCost = 1,
        costFrom = nil,
        costReturns = 0,
        costLosses = 0,
        costCalls = 0,
        lastFall = nil,
        blockedUntil = nil,
        isRetryAfter = false,
        blockedAt = nil,
        blockedObservation = 0,
        guesses = 0,
        lastGrantAt = now,
        canaryAt = nil,
        heldUntil = nil,
        isCanaryDue = false,
        canaryDueAt = nil,
        canaryWaitMs = 1000,
        forcedAfterMs = 60000,
        nextFirstAt = 0,
        firstWaitMs = 1000,
        taken = 0,
        expected = 0,
        window = 1,
        ceiling = 1024
    }
end,
setConfiguredLimit = function(bucket, ____bindingPattern0)
    local isOwn
    local periodMs
    local limit
    limit = ____bindingPattern0.limit
    periodMs = ____bindingPattern0.periodMs
    isOwn = ____bindingPattern0.isOwn
    if bucket.hasReportedLimit then
        return
    end
    if isOwn == true then
        bucket.isOwnLimit = true
        bucket.basis = "delay"
    end
    local spent = bucket.phase == "metered" and bucket.limit - bucket.remaining or 0
    bucket.phase = "metered"
    bucket.limit = limit
    bucket.isLimitStated = true
    bucket.remaining = bucket.limit - spent < 0 and 0 or bucket.limit - spent
    bucket.configuredPeriodMs = periodMs
    Model.boundCost(bucket)
    Model.keepLastSlots(bucket.slots, bucket.limit - bucket.remaining)
end,
restore = function(bucket, ____bindingPattern0, now)
    local slots
    local blockedUntil
    local reported
    reported = ____bindingPattern0.reported
    blockedUntil = ____bindingPattern0.blockedUntil
    slots = ____bindingPattern0.slots
    Model.addKnownSlots(bucket, slots, now)
    local at = reported and reported.at
    local isNewer = at ~= nil and at > (bucket.observedAt or -math.huge)
    if reported ~= nil and isNewer then
        local ____reported_30 = reported
        local limit = ____reported_30.limit
        local remaining = ____reported_30.remaining
        local resetAt = ____reported_30.resetAt
        bucket.phase = "metered"
        bucket.hasReportedLimit = true
        bucket.limit = limit
        bucket.remaining = remaining
        bucket.observations = bucket.observations + 1
        bucket.observedAt = at
        bucket.uncertaintyMs = reported.uncertaintyMs
        Model.holdOthers(bucket, now)
        bucket.resetAt = resetAt ~= nil and resetAt > now and resetAt or nil
        bucket.reportedRemaining = remaining
        bucket.reportedResetAt = bucket.resetAt
        bucket.stamp = reported.stamp
        bucket.callCost = reported.callCost or 1
        bucket.sameWithinMs = 0
        Model.rememberPeriod(bucket, reported)
        if bucket.resetAt == nil then
            Model.scheduleCanary(bucket, now)
        end
    end
    if blockedUntil ~= nil then
        bucket.blockedUntil = blockedUntil
        bucket.isRetryAfter = true
        bucket.blockedObservation = bucket.observations
    end
    if bucket.isOwnLimit then
        bucket.remaining = bucket.limit - bucket.slots.size < 0 and 0 or bucket.limit - bucket.slots.size
    end
    if bucket.phase == "metered" then
        Model.keepLastSlots(bucket.slots, bucket.limit - bucket.remaining)
    end
end,
unsent = function(bucket, ____bindingPattern0)
    local grantedAt
    local kind
    kind = ____bindingPattern0.kind
    grantedAt = ____bindingPattern0.grantedAt
    if kind == "canary" and bucket.lastGrantAt == grantedAt then
        bucket.isCanaryDue = Model.needsCanary(bucket) and Model.checkAt(bucket) == math.huge
    end
    if kind == "first" then
        bucket.nextFirstAt = 0
    end
end,
renewed = function(bucket, lease)
    if lease.kind ~= "canary" or (bucket.phase == "metered" and bucket.remaining - (bucket.inFlight + bucket.extraInFlight) or 0) < 0 then
        Model.unsent(bucket, lease)
    end
end,
lost = function(bucket, ____bindingPattern0, now)
    local cost
    local kind
    kind = ____bindingPattern0.kind
    cost = ____bindingPattern0.cost
    Model.countLost(bucket, cost, now)
    if kind == "canary" then
        Model.scheduleCanary(bucket, now)
    end
end,
expireLease = function(bucket, lease, now)
    Model.applyReturns(bucket, lease.grantedAt + 10000, false)
    Model.endLease(bucket, lease)
    lease.loss = lease.cost
    lease.recorded = Model.countLost(bucket, lease.cost, now)
    if lease.kind == "canary" then
        Model.scheduleCanary(bucket, now)
    end
end,
}
end })
end })
end })
return Model
