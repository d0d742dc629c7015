local call = redis.call

-- Enters names into the index of namespaces. The first entry in a new store also sets the witness and adds
-- an empty name. So if the witness exists and the empty name does not, the index was lost.
local function enter_names(all, witness, names)
  local added = 0
  for _, name in ipairs(names) do
    added = added + call('ZADD', all, 0, name)
  end
  if added > 0 and call('SET', witness, '', 'NX') then
    call('ZADD', all, 0, '')
  end
end
