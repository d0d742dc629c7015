-- Removes namespaces that no longer exist from the index of namespaces. On a replica they stay in it.
--
-- KEYS  the index of namespaces; data and key index of each
-- ARGV  the namespaces

for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[i * 2], KEYS[i * 2 + 1]) == 0 then
    local reply = redis.pcall('ZREM', KEYS[1], ARGV[i])
    if type(reply) == 'table' and not string.find(reply.err, 'READONLY', 1, true) then
      return reply
    end
  end
end
return 0
