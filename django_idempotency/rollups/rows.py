"""The rows of the rollup: added to by every process, compacted from minutes to hours, and deleted when nobody draws them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import F

from ..backends.db import database
from ..backends.db.batches import rows_only
from ..backends.db.errors import is_conflict, is_held
from ..conf import get_policy
from ..models import IdempotencyRollup

HOUR = 60
MINUTES_KEPT = 25 * HOUR
"""How old minutes become before they are compacted: the chart of a day is drawn from them."""
HOURS_KEPT = 8 * 24 * HOUR
"""How old hours become before they are deleted: the longest chart is that of a week."""
AT_ONCE = 5000
"""Rows that are deleted in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """How many rows of minutes became how many of hours, and how many were deleted because they are old."""

    minutes: int = 0
    hours: int = 0
    deleted: int = 0


class _Unseen(Exception):
    """A row that is there and that this transaction cannot see."""


def rows_in(using: str | None) -> Any:
    """All rows of a database; None means the default profile's."""
    return IdempotencyRollup._base_manager.using(using or database(get_policy("default")))


def add(tally: Mapping[tuple[int, str], int], *, alias: str, minutes: int = 1) -> None:
    """
    Add these numbers, by their beginning and measure, to what the rows say: all of them or, with an exception, none.

    In one order, so that two processes wait for each other and never in a circle.
    """
    with rows_only(alias):
        for (begins, measure), number in sorted(tally.items()):
            _add(alias, {"begins": begins, "minutes": minutes, "measure": measure}, number)


def compact(
    *,
    using: str | None = None,
    now: float | None = None,
    progress: Callable[[Compacted], object] | None = None,
) -> Compacted:
    """
    Make hours of the minutes that are older than 25 hours, and delete the hours that are older than 8 days.

    Each hour is a transaction of its own. One in which somebody else is at work is left to the next time.
    """
    rows = rows_in(using)
    minute = int(time.time() if now is None else now) // 60
    done = Counter(deleted=_delete(rows, minute - HOURS_KEPT))
    old = rows.filter(minutes=1, begins__lt=(minute - MINUTES_KEPT) // HOUR * HOUR)
    for hour in sorted({begins // HOUR * HOUR for begins in old.values_list("begins", flat=True).distinct()}):
        done.update(_compact(rows, hour))
        if progress:
            progress(Compacted(**done))
    return Compacted(**done)


def _add(alias: str, row: dict[str, Any], number: int) -> None:
    same = rows_in(alias).filter(**row)
    if same.update(counter=F("counter") + number):
        return
    try:
        with transaction.atomic(using=alias):
            rows_in(alias).create(**row, counter=number)
    except IntegrityError:
        # Somebody else was faster.
        if not same.update(counter=F("counter") + number):
            raise _Unseen from None


def _compact(rows: Any, hour: int) -> Counter[str]:
    chosen = rows.filter(minutes=1, begins__gte=hour, begins__lt=hour + HOUR)
    try:
        with rows_only(rows.db):
            # Held, so that nothing is added between the reading and the deletion.
            found = list(chosen.select_for_update().values_list("pk", "measure", "counter"))
            sums: Counter[tuple[int, str]] = Counter()
            for _, measure, counter in found:
                sums[hour, measure] += counter
            rows.filter(pk__in=[pk for pk, _, _ in found])._raw_delete(rows.db)
            add(sums, alias=rows.db, minutes=HOUR)
    except OperationalError as exc:
        if not is_conflict(exc) and not is_held(exc):
            raise
        return Counter()
    return Counter(minutes=len(found), hours=len(sums))


def _delete(rows: Any, before: int) -> int:
    deleted = 0
    while chosen := list(rows.filter(begins__lt=before).values_list("pk", flat=True)[:AT_ONCE]):
        deleted += rows.filter(pk__in=chosen)._raw_delete(rows.db) or 0
    return deleted
