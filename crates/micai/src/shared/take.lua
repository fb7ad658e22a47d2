-- One step of a pace. KEYS: the key. ARGV: now, the period, the burst; microseconds.
-- Answers 0 when the step is taken, else the instant from which it may be. At rest the key expires.
local now, period, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local rest_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + period
local allowed_at = rest_at - period * burst
if allowed_at > now then
  return allowed_at
end
redis.call('SET', KEYS[1], string.format('%.0f', rest_at), 'PX', math.ceil((rest_at - now) / 1000) + 1)
return 0
