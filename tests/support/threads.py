"""Somebody else's work, in threads with database connections of their own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import connection, connections

from tests.support import points

Result = TypeVar("Result")

PATIENCE = 8.0
"""Seconds after which a test gives up on a thread. A test that passes never waits so long."""


def elsewhere(call: Callable[[], Result]) -> Result:
    """Call over another connection, and return what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closing, call).result(PATIENCE * 2)


def closing(call: Callable[[], Result]) -> Result:
    """Call, and close the connections of this thread."""
    try:
        return call()
    finally:
        connections.close_all()


class Stage:
    """Holds what enters it until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gone_on = threading.Event()

    def enter(self) -> None:
        self.entered.set()
        assert self.gone_on.wait(PATIENCE), "nobody let the work go on"


@contextmanager
def running(call: Callable[[], Result], stage: Stage) -> Iterator["Future[Result]"]:
    """Run a call in the background, from its entering the stage on; it goes on when the block ends."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(closing, call)
        try:
            assert stage.entered.wait(PATIENCE), future
            yield future
        finally:
            stage.gone_on.set()


@contextmanager
def before(name: str, *calls: Callable[[], Any]) -> Iterator[None]:
    """Call something just before this thread's first (second, ...) statement of this name (tests.support.points)."""
    waiting = list(calls)

    def execute(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if waiting and points.name_of(sql) == name:
            waiting.pop(0)()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield
    assert not waiting, f"there was no statement {name!r} to come before"
