-- owners: records who uses the bucket. While that is one owner alone, this needs no more of the reserve.
--
-- Returns: the table Owners.

-- A ticket was added to the queue.
local function queued(ticket)
  local sole = state.sole
  if sole and sole[1] == ticket.owner then
    sole[2], sole[3] = now, sole[3] + FairQueue.useOf(ticket)
  else
    Reserve.queued(ticket)
  end
end

-- A ticket left the queue.
local function unqueued(ticket)
  local sole = state.sole
  if sole and sole[1] == ticket.owner then
    sole[3] = math.max(0, sole[3] - FairQueue.useOf(ticket))
  else
    Reserve.unqueued(ticket)
  end
end

-- A ticket was granted. What an owner used alone took nothing from another one.
local function granted(ticket)
  local sole = state.sole
  if sole and sole[1] == ticket.owner then sole[2] = now else Reserve.granted(ticket) end
end

return { queued = queued, unqueued = unqueued, granted = granted }
