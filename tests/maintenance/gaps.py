"""The gap between choosing a record and acting on it, held open."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.utils import timezone

from django_idempotency.maintenance import batches
from django_idempotency.models import IdempotencyRecord
from tests.support.threads import PATIENCE, closing

GATE = 20_26
"""The number of the advisory lock at which a statement is held."""
WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"


@contextmanager
def meanwhile(happens: Callable[[], object], chosen: IdempotencyRecord) -> Iterator[None]:
    """
    Let something happen once, after upkeep has chosen this record and before it acts on it.

    Where the purge is one statement, that is inside it: it has its snapshot, and is held before it locks the first row.
    """
    waiting, rows_only = [happens], batches.rows_only

    def between(*args: Any, **options: Any) -> Any:
        if waiting:
            waiting.pop()()
        return rows_only(*args, **options)

    def execute(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not (waiting and "WITH chosen" in sql and verb(chosen) in sql and chosen.state in params):
            return execute(sql, params, many, context)
        return held(lambda gated: execute(gated, params, many, context), sql, waiting.pop())

    batches.rows_only = between
    try:
        with connection.execute_wrapper(execute):
            yield
    finally:
        batches.rows_only = rows_only
    assert not waiting, "the record was never chosen"


def verb(chosen: IdempotencyRecord) -> str:
    """Return what the purge will do to a record."""
    forgotten = chosen.forget_at is not None and chosen.forget_at <= timezone.now()
    return "changed AS (DELETE" if forgotten else "changed AS (UPDATE"


def held(execute: Callable[[str], Any], sql: str, happens: Callable[[], object]) -> Any:
    """Execute a statement that waits at the gate, once it has its snapshot, for something to happen elsewhere."""
    shut = threading.Event()

    def wait_and_open() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [GATE])
            shut.set()
            wait_until_held(cursor)
            happens()
            cursor.execute("SELECT pg_advisory_unlock(%s)", [GATE])

    gate = f" WHERE (SELECT pg_advisory_xact_lock_shared({GATE})) IS NOT NULL AND ("
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(closing, wait_and_open)
        assert shut.wait(PATIENCE), opened
        result = execute(sql.replace(" WHERE (", gate, 1))
        opened.result(PATIENCE)
    return result


def wait_until_held(cursor: Any) -> None:
    pause = threading.Event()
    for _ in range(800):
        cursor.execute(WAITS, [GATE])
        if cursor.fetchone()[0]:
            return
        pause.wait(0.01)
    raise AssertionError("the statement does not wait")
