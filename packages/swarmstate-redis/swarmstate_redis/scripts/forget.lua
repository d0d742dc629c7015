-- Takes namespaces that no longer exist out of the index of namespaces.
--
-- KEYS  the index of namespaces; data and key index of each
-- ARGV  the namespaces

for i = 1, #ARGV do
  if redis.call('EXISTS', KEYS[i * 2], KEYS[i * 2 + 1]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return 0
