"""A day with some trouble in it, for the dashboard to show."""

import random
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from django_idempotency.models import IdempotencyIncident, IdempotencyRollup
from django_idempotency.rollups.counts import FAILED, NEW, REFUSED, REPLAYED, took
from tests.support.records import NUMBERS, stored

HOSTILE = "<script>alert(1)</script>"


def incident(kind: str, *, age: timedelta = timedelta(hours=1), closed: timedelta | None = None, **columns: Any) -> Any:
    """An incident first seen so long ago, and closed so long ago, if it was."""
    number, now = next(NUMBERS), timezone.now()
    named = {"namespace": "default", "scope": "user:1", "key": f"key-{number}", "method": "POST", "path": "/pay"}
    times = {"first_seen": now - age, "last_seen": now - age, "healed_at": None if closed is None else now - closed}
    fingerprint = f"{number:064x}"
    record_id = f"00000000-0000-0000-0000-{number:012d}"
    return IdempotencyIncident.objects.create(
        kind=kind, record_id=record_id, fingerprint=fingerprint, **{**named, **times, **columns}
    )


def counted(begins: int, measure: str, counter: int, *, minutes: int = 1) -> None:
    """Something that has happened so often in the minutes from then on."""
    IdempotencyRollup.objects.create(begins=begins, minutes=minutes, measure=measure, counter=counter)


def day_of_trouble() -> None:
    """Open incidents with money in them, requests under way, and what was counted over a week."""
    incident("mismatch", age=timedelta(hours=7), amount=Decimal("129.90"), currency="EUR")
    incident("mismatch", age=timedelta(minutes=4), amount=Decimal(4800), currency="EUR")
    incident("failed", age=timedelta(days=2), amount=Decimal(12000), currency="JPY")
    incident("unknown", age=timedelta(minutes=50), amount=Decimal("77.5"), currency="USD")
    incident("failed", age=timedelta(hours=9), closed=timedelta(hours=3))
    stored("processing", claimed_at=timedelta(seconds=4))
    stored("processing", claimed_at=timedelta(minutes=40))
    stored("unknown", claimed_at=timedelta(minutes=50), amount=Decimal("77.5"), currency="USD")
    week_of_counts()


def week_of_counts() -> None:
    """What was counted over a week."""
    minute = int(time.time()) // 60
    hours = [row for hour in range(25, 170) for row in _counted(minute - hour * 60, 60)]
    quarters = [row for quarter in range(5, 97) for row in _counted(minute - quarter * 15, 1)]
    IdempotencyRollup.objects.bulk_create(
        [*hours, *quarters, *(row for ago in range(60) for row in _counted(minute - ago, 1))]
    )


def _counted(begins: int, minutes: int) -> list[IdempotencyRollup]:
    draw = random.Random(begins)
    numbers = {
        NEW: draw.randrange(40, 90) * minutes,
        REPLAYED: draw.randrange(0, 9) * minutes,
        FAILED: draw.choice([0, 0, 0, 0, 2, 5]),
        f"{REFUSED}in-flight": draw.randrange(0, 4) * minutes,
        f"{REFUSED}key-reused": draw.randrange(0, 2) * minutes,
        f"{REFUSED}key-missing": draw.choice([0, 0, 1]),
        f"{REFUSED}store-unavailable": draw.choice([0, 0, 0, 30]),
        took(0.02): 30 * minutes,
        took(0.08): draw.randrange(5, 30) * minutes,
        took(0.4): draw.randrange(0, 9) * minutes,
    }
    chosen = {name: number for name, number in numbers.items() if number}
    begins -= begins % minutes
    return [
        IdempotencyRollup(begins=begins, minutes=minutes, measure=name, counter=number)
        for name, number in chosen.items()
    ]
