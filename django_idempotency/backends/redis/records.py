"""Records and answers as they lie in Redis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ...core.engine import Snapshot, StoredRecord
from ...core.states import State


def packed(snapshot: Snapshot) -> bytes:
    """An answer as one string: a line of JSON, and the body as it is."""
    head = (snapshot.status, snapshot.headers, snapshot.key_id, snapshot.body is not None)
    return json.dumps(head).encode() + b"\n" + (snapshot.body or b"")


def unpacked(stored: bytes) -> Snapshot:
    head, _, body = stored.partition(b"\n")
    status, headers, key_id, has_body = json.loads(head)
    return Snapshot(status, tuple((name, value) for name, value in headers), body if has_body else None, key_id)


def record(found: Sequence[Any]) -> StoredRecord | None:
    """What a script has read; None where there is no record."""
    now, answer, state, claim, token, fingerprint, *times = found
    if state is None:
        return None
    snapshot = unpacked(answer) if answer is not None else None
    completed = state == b"completed"
    claimed_at, lease_until, expires_at, forget_at = map(_time, times)
    return StoredRecord(
        # An answer that Redis has dropped before its time is gone, and the key is not free for that.
        state=State.TOMBSTONE if completed and snapshot is None else State(state.decode()),
        claim=int(claim),
        token=int(token),
        fingerprint=fingerprint,
        now=_from(now),
        claimed_at=claimed_at or _from(now),
        lease_until=lease_until,
        expires_at=expires_at,
        forget_at=forget_at,
        snapshot=snapshot if completed else None,
    )


def milliseconds(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() * 1000))


def _time(stored: bytes | None) -> datetime | None:
    return None if stored is None else _from(int(stored))


def _from(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
