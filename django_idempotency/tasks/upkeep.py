"""
Upkeep as tasks of Celery.

The models, and so maintenance, are imported inside the tasks: settings call beat_schedule() before there are any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any

from celery import shared_task
from django.db import InterfaceError, OperationalError

from ..exceptions import StoreUnavailable

LONGEST_PAUSE = 600
"""Seconds between two attempts, at most."""
PACKAGE = __package__
"""Below which the tasks are known to brokers and schedules."""


def _upkeep(function: Callable[..., Any], **options: Any) -> Any:
    task: Any = shared_task(
        name=f"{PACKAGE}.{function.__name__}",
        autoretry_for=(StoreUnavailable, OperationalError, InterfaceError),
        retry_backoff=True,
        retry_backoff_max=LONGEST_PAUSE,
        **options,
    )
    return task(function)


@_upkeep
def purge_expired(*, database: str | None = None, batch_size: int = 1000, seconds: float = 300) -> dict[str, int]:
    """`maintenance.purge` for as many `seconds`; what is left then is left to the next run. Counts as it does."""
    from .. import maintenance

    return asdict(maintenance.purge(using=database, batch_size=batch_size, seconds=seconds))


@_upkeep
def recover_abandoned(
    *, database: str | None = None, older_than: float = 300, batch_size: int = 100, seconds: float = 45
) -> dict[str, int]:
    """
    `maintenance.recover` of claims older than `older_than` seconds, then `operations.recovery.resume`, for as many
    `seconds` together. Counts as they do.
    """
    from .. import maintenance
    from ..operations import recovery

    age, deadline = timedelta(seconds=older_than), time.monotonic() + seconds
    recovered = maintenance.recover(using=database, older_than=age, batch_size=batch_size, seconds=seconds)
    left = max(0, deadline - time.monotonic())
    return {**asdict(recovered), **asdict(recovery.resume(using=database, batch_size=batch_size, seconds=left))}


@_upkeep
def heal_incidents(*, database: str | None = None, limit: int = 1000, seconds: float = 20) -> dict[str, int]:
    """`incidents.heal` of at most `limit` incidents, for as many `seconds`; how many were closed."""
    from .. import incidents

    return {"healed": incidents.heal(database=database, limit=limit, seconds=seconds)}


@_upkeep
def drain_outbox(*, database: str | None = None, batch_size: int = 100, seconds: float = 8) -> dict[str, int]:
    """`drain` for as many `seconds`. Counts as it does."""
    from ..outbox import drains

    return asdict(drains.drain(using=database, batch_size=batch_size, seconds=seconds))


@_upkeep
def compact_rollup(*, database: str | None = None) -> dict[str, int]:
    """`rollups.rows.compact`. Counts as it does."""
    from ..rollups import rows

    return asdict(rows.compact(using=database))


# No schedule asks for it again: it is sent again until some worker has ended it.
@partial(_upkeep, acks_late=True, reject_on_worker_lost=True)
def carry_out_bulk(bulk_id: int, *, database: str, seconds: float = 60) -> bool:
    """`bulk.carry_out` of what staff has chosen; what is left after so many `seconds` goes to a task of its own."""
    from .. import bulk

    more = bulk.carry_out(bulk_id, seconds=seconds, using=database)
    if more:
        carry_out_bulk.delay(bulk_id, database=database)
    return more


def beat_schedule() -> dict[str, dict[str, Any]]:
    """
    Entries for CELERY_BEAT_SCHEDULE: purge every 10 minutes, recover every minute, heal every 5 minutes, drain every
    10 seconds, and compact the dashboard's counts every hour.

    A run that no worker has taken up before the next one is due is dropped.
    """
    seconds = {
        "purge_expired": 600,
        "recover_abandoned": 60,
        "heal_incidents": 300,
        "drain_outbox": 10,
        "compact_rollup": 3600,
    }
    return {
        f"django_idempotency.{name}": {"task": f"{PACKAGE}.{name}", "schedule": every, "options": {"expires": every}}
        for name, every in seconds.items()
    }
