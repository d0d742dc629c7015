local call = redis.call

-- Sets a namespace's time to live in ms, or removes its expiry (-1).
local function expire(data, index, ms)
  if ms < 0 then
    call('PERSIST', data)
    call('PERSIST', index)
  else
    -- The same moment for both, so that neither outlives the other.
    local now = call('TIME')
    local moment = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ms)
    call('PEXPIREAT', data, moment)
    call('PEXPIREAT', index, moment)
  end
end
