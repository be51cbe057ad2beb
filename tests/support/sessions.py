"""Sessions of MariaDB beside the one that is tested."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections

from django_idempotency.models import IdempotencyRecord

TABLE = IdempotencyRecord._meta.db_table


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def session(**variables: Any) -> Iterator[None]:
    """Set variables of this thread's session, which ends with the block."""
    for name, value in variables.items():
        sql(f"SET SESSION {name} = {value}")
    try:
        yield
    finally:
        connection.close()


def asked_of(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


class Somebody:
    """Another session, in a transaction of its own."""

    def __init__(self) -> None:
        self.connection = connections["default"].copy()
        self.connection.set_autocommit(False)
        # Let go by another thread.
        self.connection.inc_thread_sharing()

    def hold(self, asked: Any) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {TABLE} WHERE id = %s FOR UPDATE", [asked.id])

    def let_go(self) -> None:
        self.connection.rollback()


def wait_until_blocked(backend: int) -> None:
    waiting = f"SELECT count(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {backend}"
    deadline, pause = threading.Event(), 0.15
    for _ in range(40):
        if asked_of(f"{waiting} AND trx_state = 'LOCK WAIT'"):
            return
        deadline.wait(pause)
    raise AssertionError("it waits for nothing")
