"""
Putting an answer into the cache: never what a request has computed itself, and never what is being taken away.

    permit     SET the record's permission to a number of ours, if nobody has it
    read       the record, outside of any transaction
    put        the entry, only while the permission still has our number

Whoever takes an answer away puts a barrier in the permission's place first. So what was read before is not put.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ..backends.redis.connections import Script, client, errors, record_key

if TYPE_CHECKING:
    from uuid import UUID

    from ..core.engine import StoredRecord

LONGEST = timedelta(minutes=10)
"""How long an entry may live: what is left of an answer that Redis was not told to forget."""
PERMITTED = timedelta(seconds=5)
"""How long whoever reads a record may take to put it."""
BARRIER = timedelta(seconds=60)
"""How long nothing is put after an answer was taken away: longer than the commit takes that does so."""
HINTED = timedelta(milliseconds=900)
"""Less than the Retry-After that comes with it: who keeps to that meets no hint of his own."""

MILLISECOND = timedelta(milliseconds=1)

# How long the permission has been held is taken off the answer's life: it was read later than that, by another clock.
PUT = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local held = tonumber(ARGV[4]) - redis.call('PTTL', KEYS[2])
local life = math.min(tonumber(ARGV[3]) - held, tonumber(ARGV[5]))
redis.call('DEL', KEYS[2])
if life < 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', life)
return 1
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the entry of a record in one database stands in a cache."""

    cache: str
    entry: str
    permission: str


def place(cache: str, database: str, record_id: UUID) -> Place:
    # The database is part of the name: where a router gives each tenant one, their records may have the same id.
    entry = record_key(cache, record_id, f":{database}")
    return Place(cache=cache, entry=entry, permission=f"{entry}:permission")


def permit(at: Place) -> str | None:
    """A permission to put what is read from now on; None where somebody has one, or the answer is being taken away."""
    number = secrets.token_hex(8)
    with errors():
        given = client(at.cache).set(at.permission, number, nx=True, px=PERMITTED)
    return number if given else None


def put(at: Place, permission: str, entry: bytes, life: timedelta) -> bool:
    """Put an entry for as long as its answer lives; whether the permission still held."""
    times = [span // MILLISECOND for span in (life, PERMITTED, LONGEST)]
    return bool(PUT.run(at.cache, [at.entry, at.permission], [permission, entry, *times]))


def fill(at: Place, read: Callable[[], StoredRecord | None], entry: Callable[[StoredRecord], bytes | None]) -> bool:
    """Put what the database holds now; whether it was put. Raises StoreUnavailable."""
    permission = permit(at)
    record = read() if permission else None
    if permission is None or record is None or record.expires_at is None:
        return False
    value = entry(record)
    return value is not None and put(at, permission, value, record.expires_at - record.now)
