-- Takes what a process has to say, in its order. ARGV from 5: word, key, since, detail; again and again.
local words = {
  announce = function(key, since)
    push(key, since)
  end,
  -- The earliest date wins, and one that has passed is now.
  at = function(key, since, due)
    if tonumber(due) <= now then
      redis.call('ZREM', delayed, key)
      push(key, since)
    elseif redis.call('ZSCORE', delayed, key) or redis.call('ZCARD', delayed) < keys_max then
      redis.call('ZADD', delayed, 'LT', due, key)
    end
  end,
  done = function(key, since, token)
    if redis.call('HGET', tokens, key) == token and take_in(key) then
      push(key, since)
    end
  end,
  -- Done, and something new is known to wait.
  renew = function(key, since, token)
    if redis.call('HGET', tokens, key) == token then
      take_in(key)
      push(key, since)
    end
  end,
}
-- Handed out in an answer that was never heard: nobody works on these.
words.lost = function(_, since, token)
  local holders = redis.call('HGETALL', tokens)
  for i = 1, #holders, 2 do
    if holders[i + 1] == token then
      take_in(holders[i])
      push(holders[i], since)
    end
  end
end
-- Taken out and not worked on: back to its old place, which is where `since` says.
words.back = words.renew

for i = 5, #ARGV, 4 do
  words[ARGV[i]](ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return report({})
