local call = redis.call

-- Enters names into the index of namespaces. What is entered first, in a new store, is an empty name, and
-- the witness is told. So an index without the empty name, and a witness, say that it was lost.
local function enter_names(all, witness, names)
  local added = 0
  for _, name in ipairs(names) do
    added = added + call('ZADD', all, 0, name)
  end
  if added > 0 and call('SET', witness, '', 'NX') then
    call('ZADD', all, 0, '')
  end
end
