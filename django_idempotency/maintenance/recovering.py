"""Claims that nobody holds any more are settled."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import inf

from django.db import transaction

from .. import incidents
from ..backends.db.batches import rows_only
from ..backends.db.dialects import Records
from ..core.engine import GUARD
from ..core.states import State
from ..incidents import Kind
from ..models import IdempotencyRecord
from ..signals import recovered
from .batches import Row, applied, delete_exactly, summed, walked
from .due import abandoned, records_in

logger = logging.getLogger("django_idempotency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How many keys were released, and how many records were left to a person as `unknown`."""

    released: int = 0
    doubtful: int = 0


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
    left = abandoned(records_in(using), max(older_than, GUARD))
    if dry_run:
        return _recoverable(left)
    return summed(Recovered, walked(left, _settle, batch_size), progress, seconds)


def _recoverable(left: Records) -> Recovered:
    with rows_only(left.db):
        tokens = list(left.select_for_update(skip_locked=True).values_list("token", flat=True))
    released = tokens.count(0)
    return Recovered(released=released, doubtful=len(tokens) - released)


def _settle(left: Records, chosen: list[Row]) -> Counter[str]:
    done: Counter[str] = Counter()
    for row in chosen:
        same = left.filter(claim=row["claim"], token=row["token"])
        if row["token"] == 0:
            done["released"] += _release(same, row)
        else:
            done["doubtful"] += _doubt(same, row)
    return done


def _release(same: Records, row: Row) -> int:
    released = _told(Kind.ABANDONED, same, row, delete_exactly)
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
    return incidents.together(same.db, incidents.left(kind, {**row, **request}), lambda: applied(same, [row], change))
