"""Upkeep in batches, each in a transaction of its own: choose, lock what is free and still due, change it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import OperationalError, connections
from django.db.models import Q

from ..backends.db.batches import rows_only
from ..backends.db.dialects import Records
from ..backends.db.errors import is_conflict
from .due import CHOSEN
from .pace import Pace

LARGEST_BATCH = 10_000
"""Databases bound the number of parameters of a statement."""

Row = dict[str, Any]
Act = Callable[[Records, list[Row]], Counter[str]]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a part of the purge does to all that is due."""

    due: Q
    counted: str
    """As what it is counted: a field of the result."""
    changes: dict[str, Any] | None = None
    """The columns to change; None where the records are deleted."""
    answers: bool = False
    """Whether these records have answers, which caches may hold as well."""


def checked(batch_size: int) -> int:
    if not 1 <= batch_size <= LARGEST_BATCH:
        raise ValueError(f"batch_size must be from 1 to {LARGEST_BATCH}, not {batch_size}.")
    return batch_size


def walked(due: Records, act: Act, batch_size: int) -> Iterator[Counter[str]]:
    """Choose the longest due and act on them, batch by batch; what was done in each."""
    pace, onwards = Pace.of(checked(batch_size)), Q()
    while chosen := list(due.filter(onwards).order_by("due_at", "id").values(*CHOSEN)[: pace.size]):
        began = time.monotonic()
        done = act(due, chosen)
        pace = pace.after(len(chosen), time.monotonic() - began, beside_others=False)
        yield done
        # Not from the start: the database would have to step over all that is dead there, and what others hold would
        # be chosen for ever.
        onwards = _behind(chosen[-1])


def _behind(last: Row) -> Q:
    later = Q(due_at__gt=last["due_at"]) | Q(due_at=last["due_at"], id__gt=last["id"])
    # The first part adds nothing but the index.
    return Q(due_at__gte=last["due_at"]) & later


def applied(due: Records, chosen: list[Row], change: Callable[[Records], int]) -> int:
    """Change those of the chosen that are still due and that nobody holds; how many."""
    free = due.filter(id__in=[row["id"] for row in chosen]).select_for_update(skip_locked=True)
    try:
        with rows_only(due.db):
            return _changed(due, free, change)
    except OperationalError as exc:
        if not is_conflict(exc):
            raise
        # Under REPEATABLE READ, a record that has just changed fails the statement. The next run chooses it again.
        return 0


def _changed(due: Records, free: Records, change: Callable[[Records], int]) -> int:
    """Change the free ones of the chosen; how many."""
    if connections[due.db].vendor != "mysql":
        return change(due.filter(id__in=free.values("id")))
    # Locked by a statement of its own: inside an UPDATE or a DELETE, MariaDB skips nothing. And one by one: where it thinks
    # the table small, it reads all of it for several ids, and waits for what others hold there.
    return sum(change(due.filter(id=found)) for found in [*free.values_list("id", flat=True)])


def delete_exactly(records: Records) -> int:
    # delete() may first read the records and then delete by primary key alone: whatever is under the key by then.
    return records._raw_delete(records.db) or 0


def summed(
    kind: Callable[..., Result],
    batches: Iterable[Counter[str]],
    progress: Callable[[Result], object] | None,
    seconds: float,
) -> Result:
    """The sums of what was done in all batches begun within so many seconds, told after each."""
    deadline = time.monotonic() + seconds
    sums: Counter[str] = Counter()
    for done in batches:
        sums.update(done)
        if progress:
            progress(kind(**sums))
        if time.monotonic() >= deadline:
            break
    return kind(**sums)
