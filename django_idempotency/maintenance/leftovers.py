"""
What outlives its use beside the records: approvals and bulk acts that are long over, and journals whose record is gone.

The audit's events stay. Whatever is old enough here is kept for nobody: they have the history.

A journal goes in the statement or the transaction that takes its record. What has none was left by somebody else: by hand,
or by the purge of a release that knew nothing of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import OperationalError
from django.db.models import Exists, OuterRef, Q, QuerySet

from ..backends.db.batches import now, rows_only
from ..backends.db.errors import is_conflict
from ..models import (
    IdempotencyApproval,
    IdempotencyBulk,
    IdempotencyBulkRow,
    IdempotencyRecord,
    IdempotencyStep,
)
from .batches import delete_exactly
from .due import policies

LEAST = timedelta(days=30)
"""A short RETENTION says how long clients retry, not how long staff looks back."""
APPROVALS, BULK_ACTS = 500, 10
"""In one batch, at most. A bulk act may have a hundred rows."""
LOOKED_AT, LOOKS = 500, 20
"""Steps that are looked at together, and how often in one run. Ids are digests: each run begins somewhere else."""

Rows = QuerySet[Any]


def kept() -> timedelta:
    """For how long what is over is kept: as long as any key is remembered, and LEAST at least."""
    return max(LEAST, *(policy.retention + policy.tombstone for policy in policies()))


def approvals(alias: str) -> Rows:
    """Those that nobody could grant any more so long ago, whatever became of them."""
    return IdempotencyApproval._base_manager.using(alias).filter(expires_at__lte=now(alias) - kept())


def approvals_purged(alias: str, batch_size: int) -> Iterator[int]:
    # One state after the other: with that, the index begins.
    for state in IdempotencyApproval.State.values:
        due = approvals(alias).filter(state=state)
        yield from _purged(due.order_by("expires_at"), min(batch_size, APPROVALS))


def bulk_acts(alias: str) -> Rows:
    """Those that were asked for so long ago. Which of their rows nobody has begun by then, nobody will."""
    return IdempotencyBulk._base_manager.using(alias).filter(requested_at__lte=now(alias) - kept())


def bulk_acts_purged(alias: str, batch_size: int) -> Iterator[int]:
    def with_rows(acts: Rows, chosen: list[int]) -> int:
        rows: Rows = IdempotencyBulkRow._base_manager.using(alias).filter(bulk_id__in=chosen)
        delete_exactly(rows)
        return _delete(acts, chosen)

    yield from _purged(bulk_acts(alias).order_by("requested_at"), min(batch_size, BULK_ACTS), with_rows)


def strays(alias: str) -> Rows:
    """Steps without a record, in journals to which nothing was added for so long. Reads all: only to count them."""
    record = IdempotencyRecord._base_manager.using(alias).filter(pk=OuterRef("record_id"))
    younger = _younger(alias).filter(record_id=OuterRef("record_id"))
    return _older(alias).filter(~Exists(record), ~Exists(younger))


def strays_purged(alias: str, batch_size: int) -> Iterator[int]:
    """Delete those that are found in some looks; how many steps in each batch, of so many journals at most."""
    for looked_at in _looks(alias):
        gone = sorted(_strays_among(alias, looked_at))
        for first in range(0, len(gone), batch_size):
            yield _delete_steps(alias, gone[first : first + batch_size])


def _delete(due: Rows, chosen: list[int]) -> int:
    # What is over stays so: to delete by id is safe.
    rows: Rows = due.model._base_manager.using(due.db).filter(pk__in=chosen)
    return delete_exactly(rows)


def _purged(due: Rows, batch_size: int, delete: Callable[[Rows, list[int]], int] = _delete) -> Iterator[int]:
    """Delete what is due, batch by batch; how many in each."""
    while chosen := list(due.values_list("pk", flat=True)[:batch_size]):
        done = _free(due.db, partial(delete, due, chosen))
        if not done:
            return
        yield done


def _free(alias: str, delete: Callable[[], int]) -> int:
    """Delete something in a transaction of its own; how many. What somebody else is at, the next run chooses again."""
    try:
        with rows_only(alias):
            return delete()
    except OperationalError as exc:
        if not is_conflict(exc):
            raise
        return 0


def _steps(alias: str) -> Rows:
    return IdempotencyStep._base_manager.using(alias)


def _older(alias: str) -> Rows:
    before = now(alias) - kept()
    return _steps(alias).filter(Q(finished_at__lte=before) | Q(finished_at=None, requested_at__lte=before))


def _younger(alias: str) -> Rows:
    before = now(alias) - kept()
    return _steps(alias).filter(Q(finished_at__gt=before) | Q(finished_at=None, requested_at__gt=before))


def _looks(alias: str) -> Iterator[set[UUID]]:
    """The ids that some journals have, from anywhere onwards, and then from the first one."""
    ids = _steps(alias).order_by("record_id").values_list("record_id", flat=True)
    onwards, again = Q(record_id__gt=uuid4()), True
    for _ in range(LOOKS):
        found = list(ids.filter(onwards)[:LOOKED_AT])
        yield set(found)
        if len(found) == LOOKED_AT:
            onwards = Q(record_id__gt=found[-1])
        elif again:
            onwards, again = Q(), False
        else:
            return


def _strays_among(alias: str, looked_at: set[UUID]) -> set[UUID]:
    records = IdempotencyRecord._base_manager.using(alias)
    gone = looked_at - set(records.filter(pk__in=looked_at).values_list("pk", flat=True))
    return gone - set(_younger(alias).filter(record_id__in=gone).values_list("record_id", flat=True))


def _delete_steps(alias: str, gone: Iterable[UUID]) -> int:
    # Only what is old, once more: whoever claims such an id meanwhile has steps of its own, and all of them are young.
    return _free(alias, partial(delete_exactly, _older(alias).filter(record_id__in=list(gone))))
