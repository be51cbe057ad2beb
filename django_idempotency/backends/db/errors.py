"""What a database's exceptions mean to the protocol."""

from __future__ import annotations

from typing import NoReturn

from django.db import Error, InterfaceError, InternalError, OperationalError

from ...exceptions import StoreUnavailable

LOCK_NOT_AVAILABLE = "55P03"
READ_ONLY = "25006"
# Serialization failure and deadlock: the transaction is gone, and trying again is expected.
CONFLICTS = frozenset({"40001", "40P01"})

# The same on MariaDB and MySQL, by number. 1205 is a lock that was not got in time, 3572 what NOWAIT says on MySQL.
HELD_NUMBERS = frozenset({1205, 3572})
# A deadlock; and a row that has changed under innodb_snapshot_isolation.
CONFLICT_NUMBERS = frozenset({1213, 1020})
DUPLICATE_KEY = 1062
NO_SUCH_SAVEPOINT = 1305


class Unclear(Exception):
    """Nothing was run: look again."""


class Held(Exception):
    """Somebody else holds the record's lock."""


def sqlstate(exc: BaseException) -> str | None:
    cause = exc.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def error_number(exc: BaseException) -> int | None:
    """By which MariaDB and MySQL tell their errors apart."""
    arguments = getattr(exc.__cause__, "args", ()) if isinstance(exc, Error) else ()
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def is_held(exc: Error) -> bool:
    """Whether a lock was refused: PostgreSQL's NOWAIT or lock_timeout, InnoDB's lock wait, SQLite's busy database."""
    busy = getattr(exc.__cause__, "sqlite_errorname", "")
    if sqlstate(exc) == LOCK_NOT_AVAILABLE or error_number(exc) in HELD_NUMBERS:
        return True
    return busy.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def is_conflict(exc: BaseException) -> bool:
    return sqlstate(exc) in CONFLICTS or error_number(exc) in CONFLICT_NUMBERS


def is_duplicate(exc: BaseException) -> bool:
    """Whether MariaDB or MySQL refused a row whose key is there already."""
    return error_number(exc) == DUPLICATE_KEY


def is_without_savepoint(exc: BaseException) -> bool:
    """Whether MariaDB or MySQL no longer knows a savepoint, because its transaction has ended."""
    return error_number(exc) == NO_SUCH_SAVEPOINT


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


class OwnStatement:
    """Tells what the failure of a statement means. It holds nothing, so that one serves all."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, Error):
            reraise(exc)


_OWN_STATEMENT = OwnStatement()


def own_statement() -> OwnStatement:
    """Run one of the protocol's own statements and tell what its failure means."""
    return _OWN_STATEMENT
