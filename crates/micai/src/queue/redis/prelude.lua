-- What both scripts begin with. A shard's keys for one topic; times are microseconds.
-- KEYS: ready (since when), out (end of the lease), tokens (who holds what is out), again (announced while out), delayed.
-- ARGV: now, the most keys, the channel of wake-ups, this shard's name there; then what each script adds.
local ready, out, tokens, again, delayed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, keys_max, channel, shard = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local PROMOTED_MAX = 100

local function first(set)
  return redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2] or ''
end

local ready_before, due_before = redis.call('ZCARD', ready), first(delayed)
local ready_count = ready_before

-- Makes a key ready; one that is out comes back when it is done. Over the bound it is dropped: the sweeper finds it.
-- Whether a key is out is asked of `out` alone, so that whatever else gets lost, its lease still ends.
local function push(key, since)
  if redis.call('ZSCORE', out, key) then
    redis.call('SADD', again, key)
  elseif ready_count < keys_max then
    ready_count = ready_count + redis.call('ZADD', ready, 'NX', since, key)
  end
end

local function take_in(key)
  redis.call('ZREM', out, key)
  redis.call('HDEL', tokens, key)
  return redis.call('SREM', again, key) == 1
end

-- Leases that have ended and dates that have come make keys ready. What is over the bound waits for the next call.
local function promote()
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', out, '-inf', ARGV[1], 'LIMIT', 0, PROMOTED_MAX)) do
    take_in(key)
    push(key, ARGV[1])
  end
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, PROMOTED_MAX)
  for i = 1, #due, 2 do
    redis.call('ZREM', delayed, due[i])
    push(due[i], due[i + 1])
  end
end

-- How the shard stands now. Sleepers are told when there is something where nothing was, and when the first date moved
-- to the front.
local function report(taken)
  local count, due = redis.call('ZCARD', ready), first(delayed)
  local is_sooner = due ~= '' and (due_before == '' or tonumber(due) < tonumber(due_before))
  if (ready_before == 0 and count > 0) or is_sooner then
    redis.call('PUBLISH', channel, shard)
  end
  return {count, redis.call('ZCARD', delayed), redis.call('ZCARD', out), first(ready), due, first(out), taken}
end

promote()
