-- Answers queries, each from one consistent view of its namespace.
--
-- KEYS  for each query its data and its key index
-- ARGV  for each query:
--         header: number of keys, number of ranges, time to live in ms
--                 (0 leaves the expiry, -1 removes it), 1 to return the expiry
--         the keys
--         for each range: least, greatest, limit (-1: none), flags:
--           r for the greatest first, k for keys without values
-- Returns for each query: values, then keys and values of each range, then, if requested,
-- the ms until it expires (-1: never, -2: it does not exist). A namespace with a part
-- missing is an error that begins with INCOMPLETE. A replica answers, but leaves expiries
-- unchanged.

local CHUNK = 5000 -- Lua passes at most about 8,000 arguments.
local at = 0

local function take()
  at = at + 1
  return ARGV[at]
end

local function values_of(data, keys, first, last)
  if last - first < CHUNK then
    return last < first and {} or call('HMGET', data, unpack(keys, first, last))
  end
  local values = {}
  for start = first, last, CHUNK do
    local part = call('HMGET', data, unpack(keys, start, math.min(start + CHUNK - 1, last)))
    for i = 1, #part do
      values[#values + 1] = part[i]
    end
  end
  return values
end

-- Returns the error message if it fails.
local function renew(data, index, ms)
  local done, problem = pcall(expire, data, index, ms)
  if not done then
    return type(problem) == 'table' and problem.err or tostring(problem)
  end
end

local answers = {}
for query = 1, #KEYS / 2 do
  local data, index = KEYS[query * 2 - 1], KEYS[query * 2]
  local keys, ranges, ms, tell = string.match(take(), '^(%d+) (%d+) (%-?%d+) (%d)$')
  keys, ranges, ms = tonumber(keys), tonumber(ranges), tonumber(ms)
  local fields, members = call('HLEN', data), call('ZCARD', index)
  if fields ~= members then
    return redis.error_reply('INCOMPLETE ' .. query .. ' ' .. fields .. ' ' .. members)
  end
  local answer = { values_of(data, ARGV, at + 1, at + keys) }
  at = at + keys
  for _ = 1, ranges do
    local least, greatest, limit, flags = take(), take(), take(), take()
    local found
    if string.find(flags, 'r', 1, true) then
      found = call('ZREVRANGEBYLEX', index, greatest, least, 'LIMIT', 0, limit)
    else
      found = call('ZRANGEBYLEX', index, least, greatest, 'LIMIT', 0, limit)
    end
    answer[#answer + 1] = found
    if not string.find(flags, 'k', 1, true) then
      answer[#answer + 1] = values_of(data, found, 1, #found)
    end
  end
  if ms ~= 0 and fields > 0 then
    local problem = renew(data, index, ms)
    if problem and not string.find(problem, 'READONLY', 1, true) then
      return redis.error_reply(problem)
    end
  end
  if tell == '1' then
    answer[#answer + 1] = call('PTTL', data)
  end
  answers[query] = answer
end
return answers
