"""
Upkeep: purge what is past its time, recover what a dead process has left. Called by commands and schedulers.

Both choose first and act then, in short transactions, and by then a chosen key may have been claimed again. So the
statement that acts repeats the exact condition, and skips the rows that a request is holding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from . import conf
from .backends.db import database
from .backends.db.dialects import Records
from .backends.db.errors import is_conflict
from .core.engine import GUARD
from .core.states import State
from .models import IdempotencyRecord
from .signals import recovered

PROCESSING, COMPLETED, TOMBSTONE, UNKNOWN = (state.value for state in State)

# What is left of a record whose answer has expired: that its key was used, and for which request.
SHRUNK = {"state": TOMBSTONE, "status": None, "headers": "", "body": None}

LARGEST_BATCH = 10_000
"""Databases bound the number of parameters in a statement."""


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


def purge(
    *,
    using: str | None = None,
    batch_size: int = 1000,
    dry_run: bool = False,
    progress: Callable[[Purged], object] | None = None,
) -> Purged:
    """
    Delete the records whose key may be forgotten, and shrink expired answers to tombstones.

    Each batch is committed on its own: what was done stays done if a later batch fails. Claims and unknown outcomes
    are not touched. `progress` is called with the sums so far after each batch.
    """
    _check_batch_size(batch_size)
    records = records_in(using)
    if dry_run:
        return _purgeable(records)
    deleted = shrunk = 0
    for state in (TOMBSTONE, COMPLETED):
        for hit in _batches(_forgettable(records, state), batch_size, _delete):
            deleted += hit
            _report(progress, Purged(deleted=deleted))
    for hit in _batches(_expired(records), batch_size, _shrink):
        shrunk += hit
        _report(progress, Purged(shrunk=shrunk, deleted=deleted))
    return Purged(shrunk=shrunk, deleted=deleted)


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

    A claim whose view never committed anything is released: its key is free again, and the signal `recovered` is sent.
    One whose view has committed something on its own becomes `unknown`. Younger claims than a second are never
    touched: their owner may be about to start.
    """
    _check_batch_size(batch_size)
    abandoned = _abandoned(records_in(using), max(older_than, GUARD))
    if dry_run:
        return _recoverable(abandoned)
    sums = Recovered()
    for chosen in _pages(abandoned, batch_size):
        sums = _add(sums, map(partial(_settle, abandoned), chosen))
        _report(progress, sums)
    return sums


def records_in(using: str | None) -> Records:
    """All records in a database; None is the one of the default profile."""
    return IdempotencyRecord._base_manager.using(using or database(conf.get_policy("default")))


def _check_batch_size(batch_size: int) -> None:
    if not 1 <= batch_size <= LARGEST_BATCH:
        raise ValueError(f"batch_size must be from 1 to {LARGEST_BATCH}, not {batch_size}.")


def _report[T](progress: Callable[[T], object] | None, sums: T) -> None:
    if progress is not None:
        progress(sums)
