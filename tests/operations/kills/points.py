"""
The points of tests.support.points in a durable operation: each write, commit and call, numbered.

`before-step-2` is before the second write of a step. The answer's header X-Test-Trace names them all in their order, and
X-Test-Clock is the worker's time.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse

from tests.support.points import RECORD, backend_of, reach

STEP = r'["`]?django_idempotency_idempotencystep["`]?'
# On PostgreSQL the record is written in the same statement as the step.
STATEMENTS = [
    ("step", re.compile(rf"INSERT INTO {STEP}")),
    ("result", re.compile(rf"UPDATE {STEP}")),
    ("work", re.compile(r'INSERT INTO ["`]?bank_payment')),
    ("claim", re.compile(rf"INSERT (?:OR IGNORE )?INTO {RECORD}")),
    ("takeover", re.compile(rf'UPDATE {RECORD} SET (["`]?state["`]? = %s, )?["`]?token["`]? =')),
    ("complete", re.compile(rf'UPDATE {RECORD} SET .*["`]?body["`]? =', re.DOTALL)),
    ("postpone", re.compile(rf'UPDATE {RECORD} SET .*["`]?resume_at["`]? =', re.DOTALL)),
    ("hold", re.compile(rf'UPDATE {RECORD} SET ["`]?lease_until["`]?')),
]


class _Passed(threading.local):
    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: Counter[str] = Counter()


passed = _Passed()


@contextmanager
def passing(name: str, backend: int = 0) -> Iterator[None]:
    """Hold the request before and after what is done inside, if it asked for that."""
    passed.counts[name] += 1
    numbered = f"{name}-{passed.counts[name]}"
    passed.names.append(numbered)
    reach(f"before-{numbered}", backend)
    try:
        yield
    finally:
        reach(f"after-{numbered}", backend)


def numbering(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Begin to count with each request."""

    def middleware(request: HttpRequest) -> HttpResponse:
        passed.__init__()  # type: ignore[misc]
        response = get_response(request)
        response["X-Test-Trace"] = " ".join(passed.names)
        response["X-Test-Clock"] = str(time.time())
        return response

    return middleware


def install() -> None:
    """Watch every connection's statements and commits."""
    connection_created.connect(_watch, dispatch_uid="tests.operations.kills")
    wrapper: Any = BaseDatabaseWrapper
    commit = wrapper._commit

    def watched(connection: BaseDatabaseWrapper) -> None:
        with passing("commit", backend_of(connection)):
            commit(connection)

    wrapper._commit = watched


def _watch(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)


def _execute(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    name = next((name for name, pattern in STATEMENTS if pattern.search(sql)), None)
    if name is None:
        return execute(sql, params, many, context)
    with passing(name, backend_of(context["connection"])):
        return execute(sql, params, many, context)
