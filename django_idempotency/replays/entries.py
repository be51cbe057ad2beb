"""What stands in the cache for one record, as bytes: its answer, or a hint that its first request still runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..core.engine import Operation, Snapshot, StoredRecord
from ..core.states import State
from ..encryption import KeyLost, opened, sealed

# Before the rest stands the id of the key that it is encrypted under, or this.
IN_CLEAR = b"-" * 8
# An entry ends by itself when its answer does, so no time is compared.
NO_TIME = datetime.min.replace(tzinfo=UTC)


def answer(operation: Operation, record: StoredRecord, keys: Sequence[str]) -> bytes | None:
    """A completed record; None where there is nothing in it to replay."""
    snapshot = record.snapshot
    if snapshot is None:
        return None
    try:
        body = opened(snapshot.body, snapshot.key_id, keys)
    except KeyLost:
        return None
    kept = [record.fingerprint.hex(), snapshot.status, snapshot.headers, body is None]
    return _entry(operation, kept, body or b"", keys)


def hint(operation: Operation, keys: Sequence[str]) -> bytes:
    """That the first request, which asked for the same, still runs."""
    return _entry(operation, [operation.fingerprints[0].hex()], b"", keys)


def read(entry: bytes, operation: Operation, keys: Sequence[str]) -> StoredRecord | None:
    """The record as the engine judges it; None where the entry is not one of ours, or not this record's."""
    try:
        head, body = _parts(entry, keys)
        owner, fingerprint, *kept = head
        if owner != operation.id.hex:
            return None
        return _record(bytes.fromhex(fingerprint), _snapshot(kept, body) if kept else None)
    except (KeyLost, ValueError, TypeError):
        return None


def _entry(operation: Operation, kept: list[Any], body: bytes, keys: Sequence[str]) -> bytes:
    # The record's own id is inside what is encrypted: nobody can put one record's answer in another's place.
    head = json.dumps([operation.id.hex, *kept])
    value, under = sealed(head.encode() + b"\n" + body, keys)
    return (under.encode() or IN_CLEAR) + (value or b"")


def _parts(entry: bytes, keys: Sequence[str]) -> tuple[list[Any], bytes]:
    """Raises KeyLost, and ValueError for an entry that is in clear where it must not be, or the other way round."""
    under, value = entry[: len(IN_CLEAR)], entry[len(IN_CLEAR) :]
    if (under == IN_CLEAR) is bool(keys):
        raise ValueError
    text = opened(value, "" if under == IN_CLEAR else under.decode(), keys) or b""
    head, _, body = text.partition(b"\n")
    return list(json.loads(head)), body


def _snapshot(kept: list[Any], body: bytes) -> Snapshot:
    status, headers, omitted = kept
    pairs = tuple((name, value) for name, value in headers)
    return Snapshot(status, pairs, None if omitted else body)


def _record(fingerprint: bytes, snapshot: Snapshot | None) -> StoredRecord:
    return StoredRecord(
        state=State.COMPLETED if snapshot else State.PROCESSING,
        claim=0,
        token=0,
        fingerprint=fingerprint,
        now=NO_TIME,
        claimed_at=NO_TIME,
        snapshot=snapshot,
    )
