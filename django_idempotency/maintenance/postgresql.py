"""Purge on PostgreSQL: a batch is one statement that chooses, locks and changes, and no row travels to Python."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from django.db import OperationalError, connections, transaction
from django.db.models import BooleanField, Func, Q, TextField

from ..backends.db import statements
from ..backends.db.dialects import Records, Unindexed
from ..backends.db.errors import is_conflict
from ..models import IdempotencyStep
from ..replays import removals
from .batches import Step
from .due import cached
from .pace import Pace

# The array is complete, and all in it is locked, before the first row is changed: nobody claims a chosen key in between.
# The change repeats the exact condition, hidden from the indexes: with old statistics the planner would take that of what is
# due for as good as the places themselves, and read all that is due for each row. `steps` is done to its end though nobody
# reads it.
BATCH = """
WITH chosen AS MATERIALIZED ({chosen}),
changed AS ({change} RETURNING id, operation),
steps AS (DELETE FROM {steps} WHERE record_id IN (SELECT id FROM changed WHERE operation > ''))
SELECT (SELECT count(*) FROM changed), (SELECT max(due_at) FROM chosen), {ids}
"""
# Under a stricter level, what another transaction has just changed would fail the whole batch. And a batch need not wait for
# the disk: one that is lost in a crash is chosen again, and whatever follows on it is behind it in the log.
OURS = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off"
# One second after its last statement a session still counts: others come and go faster than batches. Of what may not be
# looked at, the worst is thought.
OTHERS = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND (state IS NULL OR state = 'active' OR state_change > clock_timestamp() - interval '1 second'))
"""


class Place(Func):
    """Where a row lies."""

    template = "ctid"
    output_field = TextField()


class Chosen(Func):
    """Whether a row lies where one was chosen."""

    template = "ctid = ANY (ARRAY(SELECT place FROM chosen))"
    output_field = BooleanField()


class Batch(NamedTuple):
    done: int
    last: Any
    """When the last of the chosen was due; None where none was chosen."""
    ids: list[str] | None


def batches(records: Records, step: Step, batch_size: int) -> Iterator[Counter[str]]:
    """Take a step of the purge, with the journals of what it takes; what was done in each batch."""
    pace, onwards = Pace.of(batch_size), Q()
    while True:
        time.sleep(pace.rest)
        began = time.monotonic()
        batch = _batch(records, step, step.due & onwards, pace.size)
        if batch.last is None:
            return
        seconds = time.monotonic() - began
        yield Counter({step.counted: batch.done})
        pace = pace.after(batch.done, seconds, beside_others=beside_others(records.db))
        # Not from the start: the database would have to step over all that is dead there. What others hold is not chosen,
        # so that this comes to an end.
        onwards = Q(due_at__gte=batch.last)


def beside_others(alias: str) -> bool:
    """Whether others are at work on this database. Not asked inside a transaction: a rest would only keep what it holds."""
    connection = connections[alias]
    if not connection.get_autocommit():
        return False
    with connection.cursor() as cursor:
        cursor.execute(OTHERS)
        return bool(cursor.fetchone()[0])


def _batch(records: Records, step: Step, due: Q, size: int) -> Batch:
    connection = connections[records.db]
    ours = connection.get_autocommit()
    try:
        with transaction.atomic(using=records.db), connection.cursor() as cursor:
            if ours:
                cursor.execute(OURS)
            cursor.execute(*_sql(records, step, due, size))
            batch = Batch(*cursor.fetchone())
            removals.drop(records.db, [UUID(text) for text in batch.ids or ()])
            return batch
    except OperationalError as exc:
        if not is_conflict(exc):
            raise
        # A deadlock, or what has just changed in a transaction of the caller's. The next run chooses it again.
        return Batch(0, None, None)


def _sql(records: Records, step: Step, due: Q, size: int) -> tuple[str, list[Any]]:
    connection = connections[records.db]
    rows = records.filter(due).annotate(place=Place()).order_by("due_at").values("place", "due_at")
    chosen = statements.select(connection, rows.select_for_update(skip_locked=True)[:size])
    exact = records.filter(Q(Chosen()), Q(Unindexed(due)))
    change = (
        statements.update(connection, exact, step.changes) if step.changes else statements.delete(connection, exact)
    )
    sql = BATCH.format(
        chosen=chosen.sql,
        change=change.sql,
        steps=connection.ops.quote_name(IdempotencyStep._meta.db_table),
        ids="ARRAY(SELECT id::text FROM changed)" if step.answers and cached(records.db) else "NULL",
    )
    return sql, [*chosen.places, *change.places]
