"""
What Redis runs as one step each. Time is Redis's own, in milliseconds; times of day are judged by it alone.

A record is a hash, and its answer a string beside it, so that the answer's memory is free again when its retention ends:

    idempotency:{id}          state, claim, token, fingerprint, claimed_at, lease_until, expires_at, forget_at
    idempotency:{id}:answer   what complete() has stored

`tell_at` beside them says that the staff has not been told of an unknown outcome, and when the next request on the key is to
tell it: whoever was about to may have died.

A record that is at work, or whose outcome is unknown, never expires. What is left of one that was released or forgotten
is its token, and who has released it, for a day: whoever claims the key next has a higher one.

Each script may arrive twice, after a reply that was lost, and then says what it has said before.
"""

from __future__ import annotations

from .connections import Script

TOKEN_KEPT = 24 * 60 * 60 * 1000
"""Milliseconds after its release, or its end, for which a key's token goes on growing."""
ANSWER_MARGIN = 1000
"""An answer is refused by its time, and not by its absence."""

TELLING = 5 * 1000
"""Milliseconds for which others leave it to one process to tell the staff."""

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

SEEN = (
    NOW
    + """
local seen = redis.call('HMGET', KEYS[1], 'state', 'claim', 'token', 'fingerprint', 'claimed_at', 'lease_until',
    'expires_at', 'forget_at', 'tell_at')
local function record()
    return {now, redis.call('GET', KEYS[2]), unpack(seen, 1, 8)}
end
"""
)

# What Redis has lost altogether, in a restart or a fail-over, nobody else has claimed: its owner puts it back. Whoever has
# released it, or has claimed it since, has left a token here.
HELD = (
    NOW
    + """
local function held(states)
    local seen = redis.call('HMGET', KEYS[1], 'state', 'claim', 'token')
    if seen[2] == ARGV[1] and seen[3] == ARGV[2] then
        return states[seen[1]]
    end
    if redis.call('EXISTS', KEYS[1]) == 1 then
        return false
    end
    redis.call('HSET', KEYS[1], 'state', 'processing', 'claim', ARGV[1], 'token', ARGV[2], 'fingerprint', ARGV[3],
        'claimed_at', now, 'lease_until', now + ARGV[4])
    return true
end
"""
)

READ = Script(SEEN + "return record()")

# ARGV: claim, fingerprint, lease. Returns a token for a claim; where there is a record, what READ does and whether the
# caller is to tell of it: also where a full Redis cannot note that.
CLAIM = Script(
    SEEN
    + f"""
if seen[1] == 'processing' and seen[2] == ARGV[1] then
    return {{tonumber(seen[3])}}
end
if seen[1] and not (seen[8] and tonumber(seen[8]) <= now) then
    local due = seen[1] == 'unknown' and seen[9] and tonumber(seen[9]) <= now
    if due then
        redis.pcall('HSET', KEYS[1], 'tell_at', now + {TELLING})
    end
    return {{record(), due and 1 or 0}}
end
local token = redis.call('HINCRBY', KEYS[1], 'token', 1)
redis.call('HSET', KEYS[1], 'state', 'processing', 'claim', ARGV[1], 'fingerprint', ARGV[2],
    'claimed_at', now, 'lease_until', now + ARGV[3])
if token > 1 then
    redis.call('HDEL', KEYS[1], 'expires_at', 'forget_at')
    redis.call('PERSIST', KEYS[1])
    redis.call('DEL', KEYS[2])
end
return {{token}}
"""
)

# ARGV: the new claim, lease, and the claim and token as they were read. Returns the new token.
TAKE_OVER = Script(
    NOW
    + """
local seen = redis.call('HMGET', KEYS[1], 'state', 'claim', 'token', 'lease_until')
if seen[1] == 'processing' and seen[2] == ARGV[1] then
    return tonumber(seen[3])
end
local left = seen[1] == 'unknown' or (seen[1] == 'processing' and tonumber(seen[4]) <= now)
if not left or seen[2] ~= ARGV[3] or seen[3] ~= ARGV[4] then
    return false
end
redis.call('HSET', KEYS[1], 'state', 'processing', 'claim', ARGV[1], 'lease_until', now + ARGV[2])
redis.call('HDEL', KEYS[1], 'tell_at')
return redis.call('HINCRBY', KEYS[1], 'token', 1)
"""
)

# ARGV: the claim and token as they were read. In doubt already: an earlier try, as below, or somebody else's.
LAPSE = Script(
    NOW
    + f"""
local seen = redis.call('HMGET', KEYS[1], 'state', 'claim', 'token', 'lease_until')
if seen[2] ~= ARGV[1] or seen[3] ~= ARGV[2] then
    return 0
end
if seen[1] == 'processing' and tonumber(seen[4]) <= now then
    redis.call('HSET', KEYS[1], 'state', 'unknown', 'tell_at', now + {TELLING})
end
return redis.call('HGET', KEYS[1], 'state') == 'unknown' and 1 or 0
"""
)

# ARGV: the claim and token of what the staff has been told.
TOLD = Script("""
local seen = redis.call('HMGET', KEYS[1], 'claim', 'token')
if seen[1] == ARGV[1] and seen[2] == ARGV[2] then
    redis.call('HDEL', KEYS[1], 'tell_at')
end
""")

# From here on ARGV begins with: claim, token, fingerprint, lease.
EXTEND = Script(
    HELD
    + """
if not held({processing = true}) then
    return 0
end
redis.call('HSET', KEYS[1], 'lease_until', now + ARGV[4])
return 1
"""
)

# ARGV: answer, retention, and until when the key is remembered.
COMPLETE = Script(
    HELD
    + f"""
if not held({{processing = true}}) then
    return 0
end
redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6] + {ANSWER_MARGIN})
redis.call('HSET', KEYS[1], 'state', 'completed', 'expires_at', now + ARGV[6], 'forget_at', now + ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[7] + {TOKEN_KEPT})
return 1
"""
)

# In doubt already: an earlier try, whose reply was lost.
DOUBT = Script(
    HELD
    + f"""
if not held({{processing = true, unknown = true}}) then
    return 0
end
redis.call('HSET', KEYS[1], 'state', 'unknown', 'tell_at', now + {TELLING})
return 1
"""
)

# ARGV: 1 where the work has never begun, so that nothing is unknown about it, and the token was never heard of.
RELEASE = Script(
    f"""
local seen = redis.call('HMGET', KEYS[1], 'state', 'claim', 'token')
local never_ran = ARGV[5] == '1'
if not seen[1] and seen[2] == ARGV[1] and seen[3] == ARGV[2] then
    return 1
end
local free = seen[1] == 'processing' or (seen[1] == 'unknown' and never_ran)
if not free or seen[2] ~= ARGV[1] or not (seen[3] == ARGV[2] or never_ran) then
    return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'token', seen[3], 'claim', seen[2])
redis.call('PEXPIRE', KEYS[1], {TOKEN_KEPT})
return 1
"""
)
