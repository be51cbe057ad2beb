"""Go on with the operations that a dead worker has left, or that were put off: no request is needed for it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F, Q

from .. import incidents
from ..backends.db import DatabaseBackend
from ..backends.db.dialects import Records
from ..backends.db.errors import Held, Unclear, own_statement
from ..backends.transactions import refuse_transaction
from ..conf import get_policy
from ..core.engine import Claim, Durable, Operation, Refused, RequestParts
from ..core.policies import Policy
from ..core.states import State
from ..exceptions import OutcomeUnknown
from ..maintenance import CHOSEN, ago, records_in
from .calls import resolved, store_of
from .definitions import find
from .runs import Runner, missing, pause_after

logger = logging.getLogger("django_idempotency")

IN_TRANSACTION = "resume() was called inside a database transaction, in which no operation can go on. End it first."
RESUMES = 12
"""How often upkeep takes up an operation before it leaves it to a person: over about six hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """How many operations were finished, put off again, and left to a person as `unknown`."""

    completed: int = 0
    postponed: int = 0
    parked: int = 0


def resume(
    *,
    using: str | None = None,
    batch_size: int = 100,
    seconds: float = inf,
    dry_run: bool = False,
    progress: Callable[[Resumed], object] | None = None,
) -> Resumed:
    """
    Take up the operations whose lease has run out and that are due, the oldest first, and run each to its end.

    Safe to run in several processes at once. One that cannot be finished is put off, each time for longer; after
    RESUMES times, or where nobody knows what a call did, it is left to a person with an `unknown` incident. No operation
    is begun after so many `seconds`.
    """
    refuse_transaction(IN_TRANSACTION)
    records = records_in(using)
    if dry_run:
        return Resumed(postponed=_due(records).count())
    deadline = time.monotonic() + seconds
    sums: Counter[str] = Counter()
    for row in _rows(records, batch_size):
        if time.monotonic() >= deadline:
            break
        sums.update([_resumed(records, row)])
        if progress:
            progress(_counted(sums))
    return _counted(sums)


def _counted(sums: Counter[str]) -> Resumed:
    return Resumed(**{name: count for name, count in sums.items() if name})


def _due(records: Records) -> Records:
    now = ago(records, timedelta(0))
    ready = Q(resume_at=None) | Q(resume_at__lte=now)
    return records.filter(ready, state=State.PROCESSING.value, operation__gt="", lease_until__lte=now)


def _rows(records: Records, batch_size: int) -> Iterator[dict[str, Any]]:
    """Each that is due, once."""
    onwards = Q()
    while rows := list(_due(records).filter(onwards).order_by("due_at", "id").values(*CHOSEN)[:batch_size]):
        yield from rows
        last = rows[-1]
        onwards = Q(due_at__gt=last["due_at"]) | Q(due_at=last["due_at"], id__gt=last["id"])


def _resumed(records: Records, row: dict[str, Any]) -> str:
    """What became of one: a name of Resumed's, or nothing where somebody else was faster."""
    try:
        runner = _runner(row, records.db)
    except (ImproperlyConfigured, ImportError):
        # ImportError: a setting names what this release does not have.
        logger.exception("Operation %s cannot go on under these settings.", row["id"])
        return _misconfigured(records, row)
    claim = _taken_up(records, row, runner.policy)
    if claim is None:
        return ""
    try:
        outcome = runner.give_up(claim, row["resumes"]) if row["resumes"] >= RESUMES else runner.take_up(claim)
    except Exception:
        logger.exception("Operation %s failed once more and goes on later.", claim.operation.id)
        return "postponed"
    if isinstance(outcome, Refused):
        return "parked" if isinstance(outcome.error, OutcomeUnknown) else "postponed"
    return "completed"


def _misconfigured(records: Records, row: dict[str, Any]) -> str:
    """Count the attempt and tell the staff, whose it is in the end. The rules are the default ones: its own are faulty."""
    policy = replace(get_policy(), database=records.db)
    runner = Runner(store_of(DatabaseBackend(policy), policy), policy, missing)
    claim = _taken_up(records, row, policy)
    if claim is None:
        return ""
    if row["resumes"] >= RESUMES:
        runner.give_up(claim, row["resumes"])
        return "parked"
    claim.ending.error = ImproperlyConfigured.__name__
    runner.store.postpone(claim, pause_after(row["resumes"]), incidents.failure(claim))
    return "postponed"


def _runner(row: dict[str, Any], alias: str) -> Runner:
    defined, policy = find(row["operation"]), policy_of(row, alias)
    return Runner(store_of(DatabaseBackend(policy), policy), policy, defined.function if defined else missing)


def _taken_up(records: Records, row: dict[str, Any], policy: Policy) -> Claim | None:
    same = _due(records).filter(id=row["id"], claim=row["claim"], token=row["token"])
    try:
        with own_statement(), transaction.atomic(using=records.db):
            held = same.select_for_update(skip_locked=True).values_list("pk", flat=True)
            if not list(held):
                return None
            until = ago(records, -policy.lease)
            same.update(token=F("token") + 1, resumes=F("resumes") + 1, lease_until=until, resume_at=None)
    except (Held, Unclear):
        # Somebody is at work on it; on SQLite, on anything.
        return None
    return next_claim(row, policy)


def policy_of(row: dict[str, Any], alias: str) -> Policy:
    """The rules of the operation that a record in this database is of; the default ones where this release has none."""
    defined = find(row["operation"])
    return replace(resolved(defined)[0] if defined else get_policy(), database=alias)


def next_claim(row: dict[str, Any], policy: Policy) -> Claim:
    """The right to go on with the operation of a record, once its token has been raised by one."""
    operation = Operation(
        **{name: row[name] for name in ("id", "namespace", "scope", "key", "method", "path")},
        fingerprints=(bytes(row["fingerprint"]),),
        retention=policy.retention,
        tombstone=policy.tombstone,
        lease=policy.lease,
        durable=Durable(name=row["operation"], input=None),
        parts=partial(RequestParts, amount=row["amount"], currency=row["currency"]),
    )
    return Claim(operation=operation, number=row["claim"], attempt=row["token"] + 1)
