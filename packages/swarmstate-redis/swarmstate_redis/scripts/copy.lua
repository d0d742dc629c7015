-- Makes one namespace hold what another holds, including its expiry.
--
-- KEYS  data and key index of the source, then of the target; outside a cluster also
--       the index of namespaces and its witness
-- ARGV  the target's namespace
-- Returns the number of records copied.

local fields, members = call('HLEN', KEYS[1]), call('ZCARD', KEYS[2])
if fields ~= members then
  return redis.error_reply('INCOMPLETE 1 ' .. fields .. ' ' .. members)
end
if fields > 0 then
  call('COPY', KEYS[1], KEYS[3], 'REPLACE')
  call('COPY', KEYS[2], KEYS[4], 'REPLACE')
  if KEYS[5] then
    enter_names(KEYS[5], KEYS[6], { ARGV[1] })
  end
else
  call('UNLINK', KEYS[3], KEYS[4])
  if KEYS[5] then
    call('ZREM', KEYS[5], ARGV[1])
  end
end
return fields
