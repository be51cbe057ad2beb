"""
Upkeep: purge what is past its time, recover what a dead process has left. Called by commands and schedulers.

Both choose first and act then, in short transactions, and by then a chosen key may have been claimed again. So the
statement that acts repeats the exact condition, and skips the records that somebody holds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from math import inf
from typing import Any, TypeVar

from django.db import OperationalError, connections, transaction
from django.db.models import Q

from . import incidents, journals
from .backends.db import database
from .backends.db.batches import now, rows_only
from .backends.db.dialects import Records
from .backends.db.errors import is_conflict
from .conf import get_policy, profiles
from .core.engine import GUARD
from .core.policies import Policy
from .core.states import State
from .incidents import Kind
from .models import IdempotencyRecord
from .outbox import rows
from .signals import recovered

logger = logging.getLogger("django_idempotency")

# Everything but the request and the answer, which may be large.
CHOSEN = [
    field.attname
    for field in IdempotencyRecord._meta.concrete_fields
    if field.name not in {"status", "headers", "body", "request_headers", "request_body", "operation_input"}
]
SHRUNK: dict[str, Any] = {
    "state": State.TOMBSTONE.value,
    **dict.fromkeys(("status", "body", "request_body", "request_whole", "operation_input")),
    **dict.fromkeys(("headers", "body_key_id", "request_headers", "request_key_id", "operation_key_id"), ""),
}
LARGEST_BATCH = 10_000
"""Databases bound the number of parameters of a statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many answers were shrunk to tombstones, and how many records, incidents and messages were deleted."""

    shrunk: int = 0
    deleted: int = 0
    incidents: int = 0
    messages: int = 0


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
    seconds: float = inf,
    dry_run: bool = False,
    progress: Callable[[Purged], object] | None = None,
) -> Purged:
    """
    Delete the records whose key may be forgotten, shrink expired answers to tombstones, then delete old incidents: those
    that have healed or whose record is gone, once the longest RETENTION and TOMBSTONE of all profiles have passed; and the
    outbox's messages that were delivered longer ago than the default profile's RETENTION. The journal of an operation goes
    with its answer. One that was refused before its first step, and was not asked for since, becomes a tombstone after the
    longest RETENTION.

    Each batch is committed on its own and stays done if a later one fails. `progress` is called with the sums so far
    after each. No batch is begun after so many `seconds`. Other claims and unknown outcomes are never touched.
    """
    records = records_in(using)
    if dry_run:
        return _purgeable(records)
    batches = chain(
        _batches(_forgotten(records, State.TOMBSTONE), _delete, batch_size),
        _batches(_forgotten(records, State.COMPLETED), _delete, batch_size),
        _batches(_expired(records), _shrink, batch_size),
        _batches(_never_begun(records), _close, batch_size),
        (Counter(incidents=done) for done in incidents.purged(records.db, batch_size)),
        (Counter(messages=done) for done in rows.purged(records.db, batch_size)),
    )
    return _summed(Purged, batches, progress, seconds)


def recover(
    *,
    using: str | None = None,
    older_than: timedelta = timedelta(minutes=5),
    batch_size: int = 1000,
    seconds: float = inf,
    dry_run: bool = False,
    progress: Callable[[Recovered], object] | None = None,
) -> Recovered:
    """
    Settle the claims that nobody holds any more.

    Where the view has committed nothing, the record is deleted, the key is free, and the signal `recovered` is sent.
    Where it has committed something on its own, or was a coroutine whose lease has run out as long ago, the record becomes
    `unknown`. Claims younger than a second are never touched: their owner may be on the way from the claim to the lock. No
    batch is begun after so many `seconds`.
    """
    abandoned = _abandoned(records_in(using), max(older_than, GUARD))
    if dry_run:
        return _recoverable(abandoned)
    return _summed(Recovered, _batches(abandoned, _settle, batch_size), progress, seconds)


def records_in(using: str | None) -> Records:
    """All records of a database; None means the default profile's."""
    return IdempotencyRecord._base_manager.using(using or database(get_policy("default")))


def _forgotten(records: Records, state: State) -> Records:
    # `due_at` adds nothing but the index.
    past = ago(records, timedelta(0))
    return records.filter(state=state.value, due_at__lte=past, forget_at__lte=past)


def _expired(records: Records) -> Records:
    past = ago(records, timedelta(0))
    return records.filter(state=State.COMPLETED.value, due_at__lte=past, expires_at__lte=past)


def _never_begun(records: Records) -> Records:
    found: Records = journals.never_begun(records, ago(records, max(policy.retention for policy in _policies())))
    return found


def _policies() -> list[Policy]:
    return [get_policy(name) for name in profiles()]


def _abandoned(records: Records, age: timedelta) -> Records:
    before = ago(records, age)
    lapsed = Q(lease_until=None) | Q(lease_until__lte=before)
    # A durable operation is gone on with instead.
    return records.filter(
        lapsed, operation="", state=State.PROCESSING.value, due_at__lte=before, claimed_at__lte=before
    )


def ago(records: Records, age: timedelta) -> Any:
    """A time in the past by the clock that wrote the records: the database's, where it has one."""
    return now(records.db) - age


def _purgeable(records: Records) -> Purged:
    deleted = sum(_forgotten(records, state).count() for state in (State.TOMBSTONE, State.COMPLETED))
    remembered = ~Q(forget_at__lte=ago(records, timedelta(0)))
    shrunk = _expired(records).filter(remembered).count() + _never_begun(records).count()
    old = incidents.forgotten(records.db).count()
    sent = rows.purgeable(records.db).count()
    return Purged(shrunk=shrunk, deleted=deleted, incidents=old, messages=sent)


def _recoverable(abandoned: Records) -> Recovered:
    with rows_only(abandoned.db):
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
    return Counter(deleted=_apply(due, chosen, journals.deleted_too(chosen, _delete_exactly)))


def _shrink(due: Records, chosen: list[Row]) -> Counter[str]:
    """Leave of each only that its key was used, and for which request."""
    shrunk = journals.deleted_too(chosen, lambda expired: expired.update(**SHRUNK))
    return Counter(shrunk=_apply(due, chosen, shrunk))


def _close(due: Records, chosen: list[Row]) -> Counter[str]:
    """Shrink what was never begun, as if it had been answered and that answer had expired now."""
    remembered = max(policy.tombstone for policy in _policies())
    times = {"expires_at": ago(due, timedelta(0)), "forget_at": ago(due, -remembered)}
    return Counter(shrunk=_apply(due, chosen, lambda refused: refused.update(**SHRUNK, **times)))


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
    released = _told(Kind.ABANDONED, same, row, _delete_exactly)
    if released:
        send = partial(recovered.send_robust, sender=IdempotencyRecord, record=row)
        transaction.on_commit(send, using=same.db, robust=True)
    return released


def _doubt(same: Records, row: Row) -> int:
    doubtful = _told(Kind.UNKNOWN, same, row, lambda records: records.update(state=State.UNKNOWN.value))
    if doubtful:
        logger.error("The view of %s committed on its own and never ended: outcome unknown.", row["id"])
    return doubtful


def _told(kind: str, same: Records, row: Row, change: Callable[[Records], int]) -> int:
    """Change one record; the staff learns of it in the same transaction."""
    request = dict(same.filter(id=row["id"]).values("request_headers", "request_body").first() or {})
    return incidents.together(same.db, incidents.left(kind, {**row, **request}), lambda: _apply(same, [row], change))


def _apply(due: Records, chosen: list[Row], change: Callable[[Records], int]) -> int:
    """Change those of the chosen that are still due and that nobody holds; how many."""
    free = due.filter(id__in=[row["id"] for row in chosen]).select_for_update(skip_locked=True)
    try:
        with rows_only(due.db):
            return change(due.filter(id__in=_locked(free)))
    except OperationalError as exc:
        if not is_conflict(exc):
            raise
        # Under REPEATABLE READ, a record that has just changed fails the statement. It is chosen again next time.
        return 0


def _locked(free: Records) -> Any:
    """The free ones of the chosen, from now on held by us."""
    if connections[free.db].vendor == "mysql":
        # In a statement of its own: inside an UPDATE or a DELETE, MariaDB skips nothing and waits for what is held.
        return [*free.values_list("id", flat=True)]
    return free.values("id")


def _delete_exactly(records: Records) -> int:
    # delete() may first read the records and then delete by primary key alone: whatever is under the key by then.
    return records._raw_delete(records.db) or 0


def _summed(
    kind: type[Result],
    batches: Iterable[Counter[str]],
    progress: Callable[[Result], object] | None,
    seconds: float,
) -> Result:
    deadline = time.monotonic() + seconds
    sums: Counter[str] = Counter()
    for done in batches:
        sums.update(done)
        if progress:
            progress(kind(**sums))
        if time.monotonic() >= deadline:
            break
    return kind(**sums)
