"""Erasing what one person or merchant has sent and was answered. Keys stay, so nothing can run a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.db import models, transaction
from django.db.models import Q

from . import journals
from .core.states import State
from .maintenance import records_in
from .models import IdempotencyIncident, IdempotencyRecord
from .replays import removals

BATCH = 1000
"""Rows in one transaction."""

OF_REQUEST = {"request_headers": "", "request_body": None, "request_whole": None, "request_key_id": ""}
OF_OPERATION = {"operation_input": None, "operation_key_id": ""}
OF_RECORD: dict[str, Any] = {**OF_REQUEST, **OF_OPERATION, "body": None, "body_key_id": ""}
OF_INCIDENT: dict[str, Any] = {**OF_REQUEST, "first_headers": "", "first_body": None, "first_key_id": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How many records and incidents have lost their bodies, and how many are left because they are in use."""

    records: int = 0
    incidents: int = 0
    held: int = 0


def erase(
    scope: str,
    *,
    using: str | None = None,
    dry_run: bool = False,
    progress: Callable[[Erased], object] | None = None,
) -> Erased:
    """
    Erase the stored requests and answers of a scope, in records and incidents, batch by batch.

    Keys, states and tombstones stay: a completed record is replayed with its status and headers, and without its body.
    Requests in flight, operations that have not ended or whose outcome is unknown, and rows that somebody has locked, are
    `held`: without their input, operations could not go on. Run it again when they have ended.
    """
    records = records_in(using)
    incidents = IdempotencyIncident._base_manager.using(records.db)
    unfinished = Q(state=State.PROCESSING.value) | Q(state=State.UNKNOWN.value, operation__gt="")
    settled = _full(records, OF_RECORD, scope).exclude(unfinished)
    told = _full(incidents, OF_INCIDENT, scope)
    running = _full(records, OF_RECORD, scope).filter(unfinished)
    if dry_run:
        return Erased(records=_exactly(settled, scope), incidents=_exactly(told, scope), held=_exactly(running, scope))
    erased = Erased()
    for name, rows, empty in (("records", settled, OF_RECORD), ("incidents", told, OF_INCIDENT)):
        for done in _emptied(rows, empty, scope):
            erased = replace(erased, **{name: getattr(erased, name) + done})
            if progress:
                progress(erased)
    return replace(erased, held=sum(_exactly(rows, scope) for rows in (settled, told, running)))


def _full(rows: models.QuerySet[Any], empty: dict[str, Any], scope: str) -> models.QuerySet[Any]:
    """Those of a scope that hold anything to erase."""
    conditions = (~Q(**{name: value}) for name, value in empty.items() if name.endswith(("body", "headers", "input")))
    anything = Q()
    for condition in conditions:
        anything |= condition
    return rows.filter(anything, scope=scope)


def _exactly(rows: models.QuerySet[Any], scope: str) -> int:
    """How many have this very scope: a database that compares texts its own way finds `User:1` for `user:1`, too."""
    return sum(found == scope for found in rows.values_list("scope", flat=True).iterator())


def _emptied(rows: models.QuerySet[Any], empty: dict[str, Any], scope: str) -> Iterator[int]:
    """Erase batch by batch; how many in each. The statement that erases repeats what was asked when they were chosen."""
    onwards = Q()
    while True:
        with transaction.atomic(using=rows.db):
            free = rows.filter(onwards).select_for_update(skip_locked=True).order_by("pk")
            chosen = list(free.values_list("pk", "scope")[:BATCH])
            exact = [pk for pk, found in chosen if found == scope]
            if rows.model is IdempotencyRecord:
                journals.erase(rows.db, exact)
                removals.forget(rows.db, exact)
            done = rows.filter(pk__in=exact).update(**empty)
        if not chosen:
            return
        yield done
        onwards = Q(pk__gt=chosen[-1][0])
