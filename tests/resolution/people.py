"""Who acts in these tests, and what happens just before their statements."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from django_idempotency.models import IdempotencyEvent
from django_idempotency.resolution import Actor

# With ids that no user of a test gets: who approves with the id of who has asked would be the same person.
ADA = Actor(name="ada", id="-7", address="192.0.2.7")
BOB = Actor(name="bob", id="-8", address="192.0.2.8")

UPDATE_OF_RECORD = r"UPDATE .django_idempotency_idempotencyrecord"
READ_OF_RECORD = r"SELECT .*FROM .django_idempotency_idempotencyrecord.*token.? = "
UPDATE_OF_INCIDENT = r"UPDATE .django_idempotency_idempotencyincident"


def events(*columns: str) -> list[Any]:
    """Return the events in their order: the names of the acts, or the given columns of each."""
    found = IdempotencyEvent.objects.order_by("sequence")
    return list(found.values_list(*columns) if columns else found.values_list("act", flat=True))


@contextmanager
def just_before(pattern: str, call: Callable[[], Any]) -> Iterator[None]:
    """Call something once, just before this thread's first statement in a transaction that fits the pattern."""
    waiting = [call]

    def execute(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if waiting and connection.in_atomic_block and re.match(pattern, sql, re.DOTALL):
            waiting.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield
    assert not waiting, f"there was no statement {pattern!r} to come before"
