"""What a database's exceptions mean to the protocol."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from django.db import Error, InterfaceError, InternalError, OperationalError

from ...exceptions import StoreUnavailable

LOCK_NOT_AVAILABLE = "55P03"
READ_ONLY = "25006"
# Serialization failure and deadlock: the transaction is gone, and trying again is expected.
CONFLICTS = frozenset({"40001", "40P01"})


class Unclear(Exception):
    """Nothing was run: look again."""


class Held(Exception):
    """Somebody else holds the record's lock."""


def sqlstate(exc: BaseException) -> str | None:
    cause = exc.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_held(exc: Error) -> bool:
    """Whether a lock was refused: PostgreSQL's NOWAIT or lock_timeout, SQLite's busy database."""
    busy = getattr(exc.__cause__, "sqlite_errorname", "")
    return sqlstate(exc) == LOCK_NOT_AVAILABLE or busy.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def is_conflict(exc: BaseException) -> bool:
    return sqlstate(exc) in CONFLICTS


def is_lost(exc: BaseException) -> bool:
    """Whether the connection may be unusable after this."""
    fault = exc.__cause__ if isinstance(exc, StoreUnavailable) else exc
    if not isinstance(fault, OperationalError | InterfaceError | InternalError):
        return False
    return not is_conflict(fault) and not is_held(fault)


def translated(exc: BaseException) -> BaseException:
    """What an exception out of one of the protocol's own statements means: Held, Unclear, StoreUnavailable or itself."""
    if not isinstance(exc, Error):
        return exc
    if is_held(exc):
        return Held()
    if is_conflict(exc):
        return Unclear()
    if isinstance(exc, OperationalError | InterfaceError) or sqlstate(exc) == READ_ONLY:
        return StoreUnavailable()
    return exc


def reraise(exc: BaseException) -> NoReturn:
    """Raise what an exception means; itself, with the cause it has already, where it means no other."""
    meaning = translated(exc)
    if meaning is exc:
        raise exc
    raise meaning from exc


@contextmanager
def own_statement() -> Iterator[None]:
    """Run one of the protocol's own statements and tell what its failure means."""
    try:
        yield
    except Error as exc:
        reraise(exc)
