"""
Upkeep: purge what is past its time, recover what a dead process has left. Called by commands and schedulers.

Both choose first and act then, in short transactions, and by then a chosen key may have been claimed again. So the
statement that acts repeats the exact condition, and skips the records that somebody holds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from django.db import OperationalError, connections, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from .backends.db import database
from .backends.db.dialects import Records
from .backends.db.errors import is_conflict
from .conf import get_policy
from .core.engine import GUARD
from .core.states import State
from .models import IdempotencyRecord
from .signals import recovered

logger = logging.getLogger("django_idempotency")

# Everything but what only a completed record has, which may be large.
CHOSEN = [
    field.attname
    for field in IdempotencyRecord._meta.concrete_fields
    if field.name not in {"status", "headers", "body"}
]
LARGEST_BATCH = 10_000
"""Databases bound the number of parameters of a statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many answers were shrunk to tombstones, and how many records were deleted."""

    shrunk: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How many keys were released, and how many records were left to a person as `unknown`."""

    released: int = 0
    doubtful: int = 0


Row = dict[str, Any]
Result = TypeVar("Result", Purged, Recovered)


def purge(
    *,
    using: str | None = None,
    batch_size: int = 1000,
    dry_run: bool = False,
    progress: Callable[[Purged], object] | None = None,
) -> Purged:
    """
    Delete the records whose key may be forgotten, then shrink expired answers to tombstones.

    Each batch is committed on its own and stays done if a later one fails. `progress` is called with the sums so far
    after each. Claims and unknown outcomes are never touched.
    """
    records = records_in(using)
    if dry_run:
        return _purgeable(records)
    batches = chain(
        _batches(_forgotten(records, State.TOMBSTONE), _delete, batch_size),
        _batches(_forgotten(records, State.COMPLETED), _delete, batch_size),
        _batches(_expired(records), _shrink, batch_size),
    )
    return _summed(Purged, batches, progress)


def recover(
    *,
    using: str | None = None,
    older_than: timedelta = timedelta(minutes=5),
    batch_size: int = 1000,
    dry_run: bool = False,
    progress: Callable[[Recovered], object] | None = None,
) -> Recovered:
    """
    Settle the claims that nobody holds any more.

    Where the view has committed nothing, the record is deleted, the key is free, and the signal `recovered` is sent.
    Where it has committed something on its own, the record becomes `unknown`. Claims younger than a second are never
    touched: their owner may be on the way from the claim to the lock.
    """
    abandoned = _abandoned(records_in(using), max(older_than, GUARD))
    if dry_run:
        return _recoverable(abandoned)
    return _summed(Recovered, _batches(abandoned, _settle, batch_size), progress)


def records_in(using: str | None) -> Records:
    """All records of a database; None means the default profile's."""
    return IdempotencyRecord._base_manager.using(using or database(get_policy("default")))


def _forgotten(records: Records, state: State) -> Records:
    # `due_at` adds nothing but the index.
    now = _ago(records, timedelta(0))
    return records.filter(state=state.value, due_at__lte=now, forget_at__lte=now)


def _expired(records: Records) -> Records:
    now = _ago(records, timedelta(0))
    return records.filter(state=State.COMPLETED.value, due_at__lte=now, expires_at__lte=now)


def _abandoned(records: Records, age: timedelta) -> Records:
    before = _ago(records, age)
    return records.filter(state=State.PROCESSING.value, due_at__lte=before, claimed_at__lte=before)


def _ago(records: Records, age: timedelta) -> Any:
    """A time in the past by the clock that wrote the records: the database's, where it has one."""
    return timezone.now() - age if connections[records.db].vendor == "sqlite" else Now() - age


def _purgeable(records: Records) -> Purged:
    deleted = sum(_forgotten(records, state).count() for state in (State.TOMBSTONE, State.COMPLETED))
    remembered = ~Q(forget_at__lte=_ago(records, timedelta(0)))
    return Purged(shrunk=_expired(records).filter(remembered).count(), deleted=deleted)


def _recoverable(abandoned: Records) -> Recovered:
    with transaction.atomic(using=abandoned.db):
        tokens = list(abandoned.select_for_update(skip_locked=True).values_list("token", flat=True))
    released = tokens.count(0)
    return Recovered(released=released, doubtful=len(tokens) - released)


def _batches(
    due: Records, act: Callable[[Records, list[Row]], Counter[str]], batch_size: int
) -> Iterator[Counter[str]]:
    """Choose the longest due and act on them, batch by batch; what was done in each."""
    if not 1 <= batch_size <= LARGEST_BATCH:
        raise ValueError(f"batch_size must be from 1 to {LARGEST_BATCH}, not {batch_size}.")
    onwards = Q()
    while chosen := list(due.filter(onwards).order_by("due_at").values(*CHOSEN)[:batch_size]):
        done = act(due, chosen)
        yield done
        # Not from the start: the database would have to step over all that is dead there. Where nothing was done, all
        # of the batch is held by others: go past it, or this would never end.
        last = chosen[-1]["due_at"]
        onwards = Q(due_at__gte=last) if done.total() else Q(due_at__gt=last)


def _delete(due: Records, chosen: list[Row]) -> Counter[str]:
    return Counter(deleted=_apply(due, chosen, _delete_exactly))


def _shrink(due: Records, chosen: list[Row]) -> Counter[str]:
    """Leave of each only that its key was used, and for which request."""
    empty = {"status": None, "headers": "", "body": None}
    return Counter(shrunk=_apply(due, chosen, lambda expired: expired.update(state=State.TOMBSTONE.value, **empty)))


def _settle(abandoned: Records, chosen: list[Row]) -> Counter[str]:
    done: Counter[str] = Counter()
    for row in chosen:
        same = abandoned.filter(claim=row["claim"], token=row["token"])
        if row["token"] == 0:
            done["released"] += _release(same, row)
        else:
            done["doubtful"] += _doubt(same, row)
    return done


def _release(same: Records, row: Row) -> int:
    released = _apply(same, [row], _delete_exactly)
    if released:
        send = partial(recovered.send_robust, sender=IdempotencyRecord, record=row)
        transaction.on_commit(send, using=same.db, robust=True)
    return released


def _doubt(same: Records, row: Row) -> int:
    doubtful = _apply(same, [row], lambda records: records.update(state=State.UNKNOWN.value))
    if doubtful:
        logger.error("The view of %s committed on its own and never ended: outcome unknown.", row["id"])
    return doubtful


def _apply(due: Records, chosen: list[Row], change: Callable[[Records], int]) -> int:
    """Change those of the chosen that are still due and that nobody holds; how many."""
    free = due.filter(id__in=[row["id"] for row in chosen]).select_for_update(skip_locked=True)
    try:
        with transaction.atomic(using=due.db):
            return change(due.filter(id__in=free.values("id")))
    except OperationalError as exc:
        if not is_conflict(exc):
            raise
        # Under REPEATABLE READ, a record that has just changed fails the statement. It is chosen again next time.
        return 0


def _delete_exactly(records: Records) -> int:
    # delete() may first read the records and then delete by primary key alone: whatever is under the key by then.
    return records._raw_delete(records.db)


def _summed(kind: type[Result], batches: Iterable[Counter[str]], progress: Callable[[Result], object] | None) -> Result:
    sums: Counter[str] = Counter()
    for done in batches:
        sums.update(done)
        if progress:
            progress(kind(**sums))
    return kind(**sums)
