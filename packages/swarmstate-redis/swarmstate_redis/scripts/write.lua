-- Applies batches in order, each completely or not at all.
--
-- KEYS  for each batch its data, its key index and its recent tokens; then,
--       outside a cluster, the index of namespaces and its witness
-- ARGV  1 if the call may be a retry
--       for each batch:
--         header: 1 if it expects a last key, how many values it expects, 1 to clear,
--                 time to live in ms (0 leaves the expiry, -1 removes it), numbers of
--                 ranges and keys to delete, of records to put if absent and to put
--         the namespace
--         if it expects something: its token
--         if it expects a last key: least and greatest of the prefix, the key ('' for
--                 none)
--         keys with the expected values: '' for none, or '=' and the value
--         least and greatest of each range, keys, keys with values, keys with values
-- Returns 1 if the last batch created its namespace, otherwise 0. If an expectation does
-- not hold: the number of the batch, and either 'last' and the key that was found, or
-- 'value' and the key whose value differs.
-- Errors begin with INCOMPLETE (part of a namespace is missing) or UNKNOWN (a retried
-- batch may or may not have been applied).

local CHUNK = 1000
local TOKEN, TOKENS = 8, 32 -- Bytes of a token, and how many a namespace remembers
local REMEMBERED = 60000 -- for so many ms.
local at = 1

local function take()
  at = at + 1
  return ARGV[at]
end

local function each_chunk(count, action)
  for start = 1, count, CHUNK do
    action(start, math.min(start + CHUNK - 1, count))
  end
end

local function remove(data, index, keys)
  each_chunk(#keys, function(first, last)
    call('HDEL', data, unpack(keys, first, last))
    call('ZREM', index, unpack(keys, first, last))
  end)
end

local function enter(index, keys)
  each_chunk(#keys, function(first, last)
    local members = {}
    for i = first, last do
      members[#members + 1] = 0
      members[#members + 1] = keys[i]
    end
    call('ZADD', index, unpack(members))
  end)
end

-- Returns the first expectation of a batch that does not hold, or nothing.
local function refusal(data, index, expects, values)
  if expects then
    local least, greatest, last = take(), take(), take()
    local found = call('ZREVRANGEBYLEX', index, greatest, least, 'LIMIT', 0, 1)[1] or ''
    if found ~= last then
      return 'last', found
    end
  end
  for _ = 1, values do
    local key, value = take(), take()
    local found = call('HGET', data, key)
    if (found and '=' .. found or '') ~= value then
      return 'value', key
    end
  end
end

local again = ARGV[1] == '1'
local batches = math.floor(#KEYS / 3)
local all, witness = KEYS[batches * 3 + 1], KEYS[batches * 3 + 2]
local created = 0

for batch = 1, batches do
  local data, index, recent = KEYS[batch * 3 - 2], KEYS[batch * 3 - 1], KEYS[batch * 3]
  local expects, values, clear, ms, ranges, deleted, absent, put =
    string.match(take(), '^(%d) (%d+) (%d) (%-?%d+) (%d+) (%d+) (%d+) (%d+)$')
  values, ms, ranges = tonumber(values), tonumber(ms), tonumber(ranges)
  deleted, absent, put = tonumber(deleted), tonumber(absent), tonumber(put)
  local namespace = take()
  local fields, members = call('HLEN', data), call('ZCARD', index)
  if fields ~= members and clear == '0' then
    return redis.error_reply('INCOMPLETE ' .. batch .. ' ' .. fields .. ' ' .. members)
  end

  local token, tokens, applied = nil, '', false
  local after = at + values * 2 + ranges * 2 + deleted + (absent + put) * 2
  if expects == '1' or values > 0 then
    token = take()
    after = after + 1 + (expects == '1' and 3 or 0)
    tokens = call('GET', recent) or ''
    applied = string.find(tokens, token, 1, true)
  end
  if token and not applied then
    local what, found = refusal(data, index, expects == '1', values)
    if what then
      if again and #tokens >= TOKEN * TOKENS then
        return redis.error_reply('UNKNOWN ' .. batch)
      end
      return { batch, what, found }
    end
  end

  if applied then
    created = 1
  else
    -- A hash that loses its last field loses its expiry with it.
    local remaining = nil
    if clear == '1' then
      call('UNLINK', data, index)
    elseif ranges + deleted > 0 then
      for _ = 1, ranges do
        local least, greatest = take(), take()
        local found = call('ZRANGEBYLEX', index, least, greatest)
        if #found > 0 then
          remaining = remaining or call('PTTL', data)
          remove(data, index, found)
        end
      end
      if deleted > 0 then
        remaining = remaining or call('PTTL', data)
      end
      each_chunk(deleted, function(first, last)
        call('HDEL', data, unpack(ARGV, at + first, at + last))
        call('ZREM', index, unpack(ARGV, at + first, at + last))
      end)
    end
    -- 0 if it expires at this moment, or since the script began: until the end it still exists.
    local renews = remaining and remaining >= 0 and call('EXISTS', data) == 0
    at = after - (absent + put) * 2
    local entered = {}
    for _ = 1, absent do
      local key, value = take(), take()
      if call('HSETNX', data, key, value) == 1 then
        entered[#entered + 1] = key
      end
    end
    each_chunk(put, function(first, last)
      call('HSET', data, unpack(ARGV, at + first * 2 - 1, at + last * 2))
    end)
    for i = 1, put do
      entered[#entered + 1] = ARGV[at + i * 2 - 1]
    end
    enter(index, entered)
    if renews and ms == 0 then
      ms = math.max(remaining, 1)
    end
    local exists = absent + put > 0 or call('EXISTS', data) == 1
    if ms ~= 0 and exists then
      expire(data, index, ms)
    end
    if all then
      if absent + put > 0 then
        enter_names(all, witness, { namespace })
      elseif not exists then
        call('ZREM', all, namespace)
      end
    end
    if token then
      tokens = token .. string.sub(tokens, 1, TOKEN * (TOKENS - 1))
      call('SET', recent, tokens, 'PX', REMEMBERED)
    end
    created = fields == 0 and exists and 1 or 0
  end
  at = after
end
return created
