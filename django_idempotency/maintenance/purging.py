"""Answers shrink to tombstones, and what may be forgotten is deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from math import inf
from typing import Any

from django.db import connections
from django.db.models import Q

from .. import incidents, journals
from ..backends.db.dialects import Records
from ..core.states import State
from ..outbox import rows
from ..replays import removals
from . import leftovers, postgresql
from .batches import LARGEST_BATCH, Row, Step, applied, checked, delete_exactly, summed, walked
from .due import ago, expired, forgotten, never_begun, policies, records_in

SHRUNK: dict[str, Any] = {
    "state": State.TOMBSTONE.value,
    **dict.fromkeys(("status", "body", "request_body", "request_whole", "operation_input")),
    **dict.fromkeys(("headers", "body_key_id", "request_headers", "request_key_id", "operation_key_id"), ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many answers were shrunk to tombstones, and how many of each were deleted; `steps` without a record."""

    shrunk: int = 0
    deleted: int = 0
    incidents: int = 0
    messages: int = 0
    approvals: int = 0
    bulk_acts: int = 0
    steps: int = 0


def purge(
    *,
    using: str | None = None,
    batch_size: int = LARGEST_BATCH,
    seconds: float = inf,
    dry_run: bool = False,
    progress: Callable[[Purged], object] | None = None,
) -> Purged:
    """
    Delete the records whose key may be forgotten, shrink expired answers to tombstones, then delete old incidents: those
    that have healed or whose record is gone, once the longest RETENTION and TOMBSTONE of all profiles have passed; and the
    outbox's messages that were delivered longer ago than the default profile's RETENTION; and approvals and bulk acts that
    are over for as long as the longest RETENTION and TOMBSTONE, and for 30 days at least. The journal of an operation goes
    with its answer; of those that are as old and have no record, some are looked for in each run. An operation that was
    refused before its first step, and was not asked for since, becomes a tombstone after the longest RETENTION.

    Each batch, of at most `batch_size` records, is committed on its own and stays done if a later one fails. `progress` is
    called with the sums so far after each. No batch is begun after so many `seconds`. Other claims and unknown outcomes
    are never touched. On PostgreSQL it makes way for others: while they are at work on the database, its batches are small
    and it rests between them.
    """
    records = records_in(using)
    if dry_run:
        return _purgeable(records)
    batches = chain(
        *(_batches(records, step, batch_size) for step in _steps(records)),
        walked(never_begun(records), _close, batch_size),
        (Counter(incidents=done) for done in incidents.purged(records.db, batch_size)),
        (Counter(messages=done) for done in rows.purged(records.db, batch_size)),
        (Counter(approvals=done) for done in leftovers.approvals_purged(records.db, batch_size)),
        (Counter(bulk_acts=done) for done in leftovers.bulk_acts_purged(records.db, batch_size)),
        (Counter(steps=done) for done in leftovers.strays_purged(records.db, batch_size)),
    )
    return summed(Purged, batches, progress, seconds)


def _purgeable(records: Records) -> Purged:
    deleted = sum(records.filter(forgotten(records, state)).count() for state in (State.TOMBSTONE, State.COMPLETED))
    remembered = ~Q(forget_at__lte=ago(records, timedelta(0)))
    shrunk = records.filter(expired(records), remembered).count() + never_begun(records).count()
    old = incidents.forgotten(records.db).count()
    sent = rows.purgeable(records.db).count()
    of_staff = {"approvals": leftovers.approvals(records.db), "bulk_acts": leftovers.bulk_acts(records.db)}
    over = {name: due.count() for name, due in {**of_staff, "steps": leftovers.strays(records.db)}.items()}
    return Purged(shrunk=shrunk, deleted=deleted, incidents=old, messages=sent, **over)


def _steps(records: Records) -> list[Step]:
    return [
        Step(due=forgotten(records, State.TOMBSTONE), counted="deleted"),
        Step(due=forgotten(records, State.COMPLETED), counted="deleted", answers=True),
        Step(due=expired(records), counted="shrunk", changes=SHRUNK, answers=True),
    ]


def _batches(records: Records, step: Step, batch_size: int) -> Iterator[Counter[str]]:
    if connections[records.db].vendor == "postgresql":
        return postgresql.batches(records, step, checked(batch_size))
    return walked(records.filter(step.due), partial(_act, step), batch_size)


def _act(step: Step, due: Records, chosen: list[Row]) -> Counter[str]:
    change = journals.deleted_too(chosen, delete_exactly if step.changes is None else _changing(step.changes))
    done = applied(due, chosen, change)
    if done and step.answers:
        removals.drop(due.db, [row["id"] for row in chosen])
    return Counter({step.counted: done})


def _close(due: Records, chosen: list[Row]) -> Counter[str]:
    """Shrink what was never begun, as if it had been answered and that answer had expired now."""
    remembered = max(policy.tombstone for policy in policies())
    times = {"expires_at": ago(due, timedelta(0)), "forget_at": ago(due, -remembered)}
    return Counter(shrunk=applied(due, chosen, _changing({**SHRUNK, **times})))


def _changing(changes: dict[str, Any]) -> Callable[[Records], int]:
    return lambda records: records.update(**changes)
