"""
Sending what the outbox has: whatever is due and not delivered, whenever it was written.

    take   lock a batch, skipping what others hold; put it off by HOLD, which nobody else touches it for; commit
    send   outside of any transaction: a slow broker holds up no lock and no connection of the database
    mark   delivered and emptied; what could not be sent is put off

A drain that dies in between leaves messages that come up again after HOLD, and are sent again with the same id.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
from uuid import UUID

from django.db import OperationalError, connections
from django.db.models import F, QuerySet

from ..backends.db.batches import now, rows_only
from ..backends.db.errors import is_conflict
from ..encryption import opened
from ..models import IdempotencyMessage
from .rows import home, in_database, sealing_keys
from .targets import send

logger = logging.getLogger("django_idempotency")

HOLD = timedelta(seconds=60)
"""How long a batch belongs to the drain that has taken it. In its second half, nothing more is sent."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 3600.0
"""Seconds between attempts: doubled each time, up to the longest, and up to half of it less by chance."""
STUCK_AFTER = 10
"""Attempts, half an hour in all, after which a message is no longer expected to go by itself."""
LARGEST_BATCH = 1000
NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """How many were sent, how many could not be, and how many wait that could not be sent in STUCK_AFTER attempts."""

    sent: int = 0
    failed: int = 0
    stuck: int = 0


def drain(
    *,
    using: str | None = None,
    batch_size: int = 100,
    seconds: float = inf,
    progress: Callable[[Drained], object] | None = None,
) -> Drained:
    """
    Send the messages that are due in a database, the default profile's unless `using` names another.

    Each is sent at least once: twice only if a drain was killed, or held up for longer than HOLD, between sending and
    marking. In no order. One that cannot be sent is tried again later, with growing pauses, and holds up no other.
    `progress` is called with the sums so far after each batch; none is begun after so many `seconds`.

    Raises RuntimeError inside a transaction.
    """
    if not 1 <= batch_size <= LARGEST_BATCH:
        raise ValueError(f"batch_size must be from 1 to {LARGEST_BATCH}, not {batch_size}.")
    alias = using or home()
    deadline, sums, full = time.monotonic() + seconds, Drained(), True
    while full:
        until = time.monotonic() + HOLD.total_seconds() / 2
        taken = _taken(alias, batch_size)
        sent, failed = _sent(alias, taken, until)
        sums = replace(sums, sent=sums.sent + sent, failed=sums.failed + failed)
        if progress and taken:
            progress(sums)
        full = len(taken) == batch_size and time.monotonic() < deadline
    return replace(sums, stuck=_waiting(alias).filter(attempts__gte=STUCK_AFTER).count())


def _waiting(alias: str) -> QuerySet[IdempotencyMessage]:
    return in_database(alias).filter(delivered_at=None)


def _taken(alias: str, batch_size: int) -> list[IdempotencyMessage]:
    """The longest due of those that nobody holds, ours from now on."""
    # In the order of the index, so that a backlog is not sorted, nor locked, for every batch. PostgreSQL knows it by both
    # columns; MariaDB, where both are named, sorts.
    order = ["due_at"] if connections[alias].vendor == "mysql" else ["delivered_at", "due_at"]
    due = _waiting(alias).filter(due_at__lte=now(alias)).order_by(*order)
    try:
        with rows_only(alias, durable=True):
            if connections[alias].vendor == "sqlite":
                # It locks no rows, but has one writer at a time: this makes us that before we read.
                in_database(alias).filter(pk=NOBODY).update(attempts=0)
            taken = list(due.select_for_update(skip_locked=True)[:batch_size])
            ours = in_database(alias).filter(pk__in=[message.pk for message in taken])
            ours.update(due_at=now(alias) + HOLD, attempts=F("attempts") + 1)
    except OperationalError as exc:
        if not is_conflict(exc):
            raise
        return []
    for message in taken:
        message.attempts += 1
    return taken


def _sent(alias: str, taken: Iterable[IdempotencyMessage], until: float) -> tuple[int, int]:
    """Send what can be sent in time, and give back the rest; how many were sent, and how many could not be."""
    rest, sent, failed = deque(taken), [], 0
    try:
        while rest and time.monotonic() < until:
            fault = _fault(rest[0])
            if fault is None:
                sent.append(rest[0].pk)
            else:
                _put_off(alias, rest[0], fault)
                failed += 1
            rest.popleft()
    finally:
        # Also when this process is told to end.
        _mark(alias, sent)
        _give_back(alias, rest)
    return len(sent), failed


def _fault(message: IdempotencyMessage) -> Exception | None:
    """Send a message; why it cannot be sent."""
    try:
        payload = opened(bytes(message.payload or b""), message.key_id, sealing_keys())
        args, kwargs = json.loads(payload or b"")
        send(message.target, message.task, message.pk, (args, kwargs))
    except Exception as exc:  # noqa: BLE001 - whatever a broker raises, others can be sent
        return exc
    return None


def _mark(alias: str, sent: list[UUID]) -> None:
    if sent:
        delivered = _waiting(alias).filter(pk__in=sent)
        delivered.update(delivered_at=now(alias), payload=None, key_id="", error="")


def _put_off(alias: str, message: IdempotencyMessage, fault: Exception) -> None:
    pause = min(FIRST_PAUSE * 2 ** min(message.attempts - 1, 20), LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
    error = type(fault).__name__
    _ours(alias, message).update(due_at=now(alias) + timedelta(seconds=pause), error=error[:200])
    level = logging.ERROR if message.attempts >= STUCK_AFTER else logging.WARNING
    # Never the fault's text: a broker's may quote its password.
    logger.log(
        level, "Message %s to %s was not sent in attempt %s: %s.", message.pk, message.task, message.attempts, error
    )


def _give_back(alias: str, rest: Iterable[IdempotencyMessage]) -> None:
    for message in rest:
        _ours(alias, message).update(due_at=now(alias), attempts=F("attempts") - 1)


def _ours(alias: str, message: IdempotencyMessage) -> QuerySet[IdempotencyMessage]:
    """The message, unless somebody else has taken it since."""
    return _waiting(alias).filter(pk=message.pk, attempts=message.attempts)
