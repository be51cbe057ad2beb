"""How many keys of one scope are in use, counted in Redis by its own clock. Where Redis is away, nobody is counted."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from ..backends.redis.connections import Script, client, errors, record_key
from ..core import keys
from .fills import MILLISECOND

if TYPE_CHECKING:
    from ..core.engine import Operation

LONGEST_ADVICE = 3600
"""Seconds: a client that is told to come again in three days does not."""

PENDING = timedelta(minutes=1)
"""How long a key counts of which nothing is kept yet: its process may die, or its transaction be undone, unheard."""
COUNTED = -1

COUNT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function count(life)
    redis.call('ZADD', KEYS[1], now + life, ARGV[1])
    if redis.call('PTTL', KEYS[1]) < tonumber(life) then redis.call('PEXPIRE', KEYS[1], life) end
end
"""

# A key that is counted already comes in whatever the number. The set ends with the last of its keys.
ENTER = Script(
    COUNT
    + f"""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
    return math.max(1, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] - now)
end
count(ARGV[2])
return {COUNTED}
"""
)

KEEP = Script(COUNT + "count(ARGV[2])")


def enter(cache: str, database: str, operation: Operation) -> int:
    """
    Count a key for a while: COUNTED, 0 where it is counted already, or the seconds until there is room. Raises
    StoreUnavailable.
    """
    arguments = [operation.id.bytes, PENDING // MILLISECOND, operation.max_live_keys]
    left = int(ENTER.run(cache, [_set_of(cache, database, operation)], arguments))
    return COUNTED if left == COUNTED else min(math.ceil(left / 1000), LONGEST_ADVICE)


def keep(cache: str, database: str, operation: Operation) -> None:
    """Count a key for as long as its answer lives. Raises StoreUnavailable."""
    KEEP.run(cache, [_set_of(cache, database, operation)], [operation.id.bytes, operation.retention // MILLISECOND])


def leave(cache: str, database: str, operation: Operation) -> None:
    """Count a key no more: it was released, or its answer is gone. Raises StoreUnavailable."""
    with errors():
        client(cache).zrem(_set_of(cache, database, operation), operation.id.bytes)


def _set_of(cache: str, database: str, operation: Operation) -> str:
    # No record has an empty key.
    owner = keys.record_id(operation.namespace, operation.scope, "")
    return record_key(cache, owner, f":{database}:live")
