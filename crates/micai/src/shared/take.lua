-- One step of a pace. KEYS: the key. ARGV: now, the period, the burst, microseconds; for steps that were taken without asking,
-- how many, and how far ahead they may charge the key.
-- Answers 0 when the step is taken, else the instant from which it may be. At rest the key expires.
local now, period, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local before = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local rest_at = before + period
if ARGV[4] then
  rest_at = math.max(before, math.min(before + period * tonumber(ARGV[4]), now + tonumber(ARGV[5])))
else
  local allowed_at = rest_at - period * burst
  if allowed_at > now then
    return allowed_at
  end
end
redis.call('SET', KEYS[1], string.format('%.0f', rest_at), 'PX', math.ceil((rest_at - now) / 1000) + 1)
return 0
