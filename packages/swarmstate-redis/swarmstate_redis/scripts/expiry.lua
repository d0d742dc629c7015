local call = redis.call

-- Gives a namespace so many ms to live, or takes its expiry away (-1).
local function expire(data, index, ms)
  if ms < 0 then
    call('PERSIST', data)
    call('PERSIST', index)
  else
    -- One moment for both, so that neither outlives the other.
    local now = call('TIME')
    local moment = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ms)
    call('PEXPIREAT', data, moment)
    call('PEXPIREAT', index, moment)
  end
end
