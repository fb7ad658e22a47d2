-- Hands out keys, the oldest first. ARGV from 5: how many, the token, the end of the lease.
local taken = {}
if tonumber(ARGV[5]) > 0 then
  taken = redis.call('ZPOPMIN', ready, ARGV[5])
end
for i = 1, #taken, 2 do
  redis.call('ZADD', out, ARGV[7], taken[i])
  redis.call('HSET', tokens, taken[i], ARGV[6])
end
return report(taken)
