"""Counts what one request sends to the database and to Redis."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

from django.db import connections

SAVEPOINTS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")


@dataclass(slots=True)
class Sent:
    statements: int = 0
    savepoints: int = 0
    redis: int = 0

    def __sub__(self, other: "Sent") -> "Sent":
        return Sent(
            self.statements - other.statements,
            self.savepoints - other.savepoints,
            self.redis - other.redis,
        )

    def __str__(self) -> str:
        parts = [
            f"{self.statements} SQL",
            f"{self.savepoints} savepoint" if self.savepoints else "",
            f"{self.redis} Redis" if self.redis else "",
        ]
        return " + ".join(part for part in parts if part)


@contextmanager
def counting(alias: str = "default") -> Iterator[Sent]:
    """
    Statements that go through Django's cursor, savepoints apart, and commands to Redis.

    BEGIN and COMMIT do not pass through the cursor and are not counted.
    """
    sent = Sent()
    with ExitStack() as stack:
        stack.enter_context(connections[alias].execute_wrapper(counter(sent)))
        if find_spec("redis"):
            stack.enter_context(redis_counter(sent))
        yield sent


def counter(sent: Sent) -> Callable[..., Any]:
    def count(execute: Callable[..., Any], sql: str, *parameters: Any) -> Any:
        if sql.startswith(SAVEPOINTS):
            sent.savepoints += sql.startswith("SAVEPOINT")
        else:
            sent.statements += 1
        return execute(sql, *parameters)

    return count


@contextmanager
def redis_counter(sent: Sent) -> Iterator[None]:
    from redis.connection import AbstractConnection

    send = AbstractConnection.send_command

    def count(self: Any, *args: Any, **options: Any) -> Any:
        sent.redis += 1
        return send(self, *args, **options)

    with patch.object(AbstractConnection, "send_command", count):
        yield
