"""What short transactions over many rows need: the database's clock, and locks on the rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.models.functions import Now
from django.utils import timezone

from .mysql import clock


def now(alias: str) -> Any:
    """The time by the clock that writes the rows: the database's, where it has one."""
    connection = connections[alias]
    if connection.vendor == "sqlite":
        return timezone.now()
    return clock(connection) if connection.vendor == "mysql" else Now()


@contextmanager
def rows_only(alias: str, *, durable: bool = False) -> Iterator[None]:
    """A transaction that locks rows; under REPEATABLE READ, MariaDB would lock the gaps between them against new ones."""
    connection = connections[alias]
    if connection.vendor == "mysql" and connection.get_autocommit():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    with transaction.atomic(using=alias, durable=durable):
        yield
