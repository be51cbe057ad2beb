"""
The server's side of the barriers: holds a request at a named point of the protocol until the test lets it go.

A request asks for it with the header `X-Test-At: <ticket> <point> <point> …`. Points are before- and after- each of our
own statements (claim, read, lock, complete, release, doubt, mark), before- and after- commit and rollback, and `view` and
`view-done`, inside the view.
"""

import os
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse

ADDRESS = "IDEMPOTENCY_TEST_BARRIER"

RECORD = r'["`]?django_idempotency_idempotencyrecord["`]?'
PREPARED = "EXECUTE django_idempotency_"
STATEMENTS = [
    ("claim", re.compile(rf"INSERT (?:OR IGNORE )?INTO {RECORD}|{PREPARED}claim")),
    ("release", re.compile(rf"DELETE FROM {RECORD}")),
    ("lock", re.compile(rf'UPDATE {RECORD} SET ["`]?token["`]?|{PREPARED}lock')),
    ("complete", re.compile(rf'UPDATE {RECORD} SET .*["`]?body["`]? =|{PREPARED}complete', re.DOTALL)),
    ("doubt", re.compile(rf"UPDATE {RECORD}")),
    ("read", re.compile(rf"FROM {RECORD}")),
    ("mark", re.compile(r'UPDATE ["`]?django_idempotency_idempotencymessage["`]? SET .*["`]?payload["`]? =')),
]


class _Asked(threading.local):
    ticket = ""
    points: tuple[str, ...] = ()


asked = _Asked()


def reach(point: str, backend: int = 0) -> None:
    """Hold the request here, once, if it asked for this point."""
    if point not in asked.points:
        return
    asked.points = tuple(other for other in asked.points if other != point)
    with socket.create_connection(("127.0.0.1", int(os.environ[ADDRESS]))) as barrier:
        barrier.sendall(f"{asked.ticket} {point} {os.getpid()} {backend}\n".encode())
        barrier.recv(1)


def name_of(sql: str) -> str | None:
    """Return which of our own statements this is."""
    return next((name for name, pattern in STATEMENTS if pattern.search(sql)), None)


class PointsMiddleware:
    """Reads the header; the points last as long as the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        asked.ticket, *points = request.headers.get("X-Test-At", "-").split()
        asked.points = tuple(points)
        try:
            return self.get_response(request)
        finally:
            asked.points = ()


def install() -> None:
    """Watch every connection's statements, commits and rollbacks."""
    connection_created.connect(_watch_statements, dispatch_uid="tests.points")
    # mypy would rather not have a method replaced; a subclass of every backend would be the same with more lines.
    wrapper: Any = BaseDatabaseWrapper
    wrapper._commit = _watched("commit", wrapper._commit)
    wrapper._rollback = _watched("rollback", wrapper._rollback)


def _watch_statements(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)


def _execute(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    name = name_of(sql) if asked.points else None
    if name is None:
        return execute(sql, params, many, context)
    backend = backend_of(context["connection"])
    reach(f"before-{name}", backend)
    result = execute(sql, params, many, context)
    reach(f"after-{name}", backend)
    return result


def _watched(name: str, method: Callable[[BaseDatabaseWrapper], None]) -> Callable[[BaseDatabaseWrapper], None]:
    def watched(connection: BaseDatabaseWrapper) -> None:
        backend = backend_of(connection) if asked.points else 0
        reach(f"before-{name}", backend)
        method(connection)
        reach(f"after-{name}", backend)

    return watched


def backend_of(connection: BaseDatabaseWrapper) -> int:
    """The server's process or thread behind a connection, for whoever wants to cut it."""
    if connection.connection is None or connection.vendor == "sqlite":
        return 0
    return (
        connection.connection.info.backend_pid
        if connection.vendor == "postgresql"
        else connection.connection.thread_id()
    )
