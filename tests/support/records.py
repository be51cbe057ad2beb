"""Records in any state and of any age, written past the protocol."""

import itertools
import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_idempotency.models import IdempotencyRecord

NUMBERS = itertools.count(1)
HOUR = timedelta(hours=1)


def stored(state: str, *, using: str = "default", **columns: Any) -> IdempotencyRecord:
    """Return a new record, claimed two hours ago; times are given as ages."""
    number = next(NUMBERS)
    times = {name: columns.pop(name) for name in ("claimed_at", "expires_at", "forget_at") if name in columns}
    now = timezone.now()
    return IdempotencyRecord.objects.using(using).create(
        **{
            "id": uuid.uuid4(),
            "namespace": "default",
            "scope": "user:1",
            "key": f"key-{number}",
            "fingerprint": b"\x01" * 32,
            "state": state,
            "claim": number,
            "method": "POST",
            "path": "/pay",
            "claimed_at": now - 2 * HOUR,
            **columns,
            **{name: now - age for name, age in times.items()},
        }
    )


def completed(*, expired: timedelta, forgotten: timedelta, **columns: Any) -> IdempotencyRecord:
    """Return a record with an answer that expired, and may be forgotten, so long ago; negative is in the future."""
    answer = {"status": 201, "headers": '[["X-Paid", "yes"]]', "body": b'{"paid": true}', "token": 1}
    return stored("completed", expires_at=expired, forget_at=forgotten, **{**answer, **columns})


def tombstone(*, forgotten: timedelta, **columns: Any) -> IdempotencyRecord:
    """Return a record without its answer."""
    return stored("tombstone", expires_at=forgotten + HOUR, forget_at=forgotten, **columns)


def states() -> dict[str, str]:
    """Return the state of every key."""
    return dict(IdempotencyRecord.objects.values_list("key", "state"))
