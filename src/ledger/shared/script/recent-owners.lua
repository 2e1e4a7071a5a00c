-- recent-owners: which owners used the bucket lately, and how much of it.
--
-- Generated from src/queue/{recent-owners,flow}.ts by "npm run lua". Change the source, not this file.
--
-- Returns: the functions that the rest of the script calls, by their names in the source.

local RecentOwners
RecentOwners = {
MAX_OWNERS = 32,
makeSurvey = function()
    return {known = 0, used = 0, leastDemand = math.huge, leastWaiting = math.huge}
end,
addToSurvey = function(survey, seenAt, used, waiting, periodMs, now)
    local faded = periodMs == nil and used or used * (1 - (now - seenAt) / (2 * periodMs) < 0 and 0 or 1 - (now - seenAt) / (2 * periodMs))
    if now - seenAt <= 5 * periodMs then
        survey.known = survey.known + 1
        survey.used = survey.used + faded
        survey.leastDemand = survey.leastDemand < faded + waiting and survey.leastDemand or faded + waiting
    end
    if waiting > 1e-9 then
        survey.leastWaiting = survey.leastWaiting < faded and survey.leastWaiting or faded
    end
end,
hasModestOwner = function(survey)
    return survey.leastDemand <= (survey.known < 2 and -1 or 0.5 * survey.used / survey.known)
end,
mayModestWait = function(survey)
    return survey.leastWaiting <= (survey.known < 2 and -1 or 0.5 * survey.used / survey.known)
end,
isModest = function(survey, demand)
    return demand <= (survey.known < 2 and -1 or 0.5 * survey.used / survey.known) + 1e-9
end,
}
return RecentOwners
