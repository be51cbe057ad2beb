"""What may not surround an operation, and what may not happen inside a remote call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..core.engine import Operation
from ..masking import DROPPED, verdict

READS = re.compile(
    r"(?:[\s(]|/\*.*?\*/|--[^\n]*\n)*(?:SELECT|SHOW|EXPLAIN|PRAGMA|VALUES|WITH(?!.*\b(?:INSERT|UPDATE|DELETE|MERGE)\b)"
    # What Django says to begin a transaction, and to a new connection.
    r"|SET|BEGIN|SAVEPOINT|RELEASE|ROLLBACK)\b",
    re.IGNORECASE | re.DOTALL,
)

WRITE = (
    "A remote call wrote to the database {alias!r}. It may be repeated, or looked up instead, and then the write is made "
    "twice or never. Return what is to be written, and write it in the next phase."
)

PHASE_IN_TRANSACTION = (
    "op.phase() was called inside a database transaction: rolled back, it would undo the phase after it had been gone on "
    "from, and until it ends, the operation's own signs of life wait for it. Each phase is a transaction of its own."
)
CALL_IN_TRANSACTION = (
    "op.remote() was called inside a database transaction, which would be open for as long as the other system takes, and "
    "whose rollback would not undo the call. End the transaction first; what belongs to it is a phase of its own."
)
TOO_LONG = (
    "A remote call's timeout must be shorter than the LEASE of {lease:g} s, not {timeout:g} s: somebody else would take the "
    "operation up while the call is under way."
)
OUTLIVED = (
    "The other system honours a call's key for {key_ttl}, longer than RETENTION and TOMBSTONE together, {remembered}. A "
    "client's key that is free again here would bring back the result of an old call for a new request."
)


def refuse_limits(operation: Operation, timeout: float, key_ttl: timedelta | None) -> None:
    """Raises ImproperlyConfigured for a remote call that may outlast the lease, or whose key outlives our memory of it."""
    lease = operation.lease.total_seconds()
    if not 0 < timeout < lease:
        raise ImproperlyConfigured(TOO_LONG.format(lease=lease, timeout=timeout))
    remembered = operation.retention + operation.tombstone
    if key_ttl is not None and key_ttl > remembered:
        raise ImproperlyConfigured(OUTLIVED.format(key_ttl=key_ttl, remembered=remembered))


def refuse_secrets(what: str, given: Any) -> None:
    """Raises ImproperlyConfigured for a name whose value must not be stored, not even encrypted (PCI DSS 3.3.1)."""
    for name in _names(given):
        if verdict(name) == DROPPED:
            # Left out, the operation could not be resumed as it began.
            raise ImproperlyConfigured(f"{what} is given {name!r}, which must not be stored. Pass a gateway's token.")


def _names(data: Any) -> Iterator[str]:
    """All names in JSON, at any depth."""
    if isinstance(data, dict):
        yield from map(str, data)
    for value in data.values() if isinstance(data, dict) else data if isinstance(data, list | tuple) else ():
        yield from _names(value)


@contextmanager
def no_writes(fault: str = WRITE, *, but: str = "") -> Iterator[None]:
    """Raises ImproperlyConfigured where this thread writes to a database inside, except to one."""

    def read_only(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if not READS.match(sql):
            raise ImproperlyConfigured(fault.format(alias=rest[-1]["connection"].alias))
        return execute(sql, *rest)

    with ExitStack() as stack:
        for connection in connections.all():
            if connection.alias != but:
                stack.enter_context(connection.execute_wrapper(read_only))
        yield
