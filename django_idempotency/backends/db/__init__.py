"""Records in the database that the views write to, so that effects and answer commit together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction

from ... import incidents
from ...core.engine import Again, Operation, Outcome, Work
from ...core.policies import Policy
from ...models import IdempotencyRecord
from ...replays.cache import Replays
from ...replays.checks import check_cache
from ..base import BaseBackend
from .committed import Committed
from .errors import own_statement
from .joined import JoinedMySQL, JoinedPostgreSQL, JoinedSQLite
from .leases import Leases, MySQLLeases, PostgreSQLLeases
from .mysql import MySQL
from .postgresql import PostgreSQL
from .sqlite import SQLite

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["DatabaseBackend"]

SUPPORTED = ("postgresql", "mysql", "sqlite")

# One for each database, so that its statements are compiled once.
_postgresql = cache(PostgreSQL)
_mysql = cache(MySQL)
_sqlite = cache(SQLite)


@cache
def _leases(alias: str, replays: Replays | None) -> Leases:
    vendor = connections[alias].vendor
    if vendor not in SUPPORTED:
        raise ImproperlyConfigured(_unsupported(alias))
    if vendor == "mysql":
        return MySQLLeases(_mysql(alias), replays)
    return PostgreSQLLeases(_postgresql(alias), replays) if vendor == "postgresql" else Leases(_sqlite(alias), replays)


class DatabaseBackend(BaseBackend):
    """
    Records in a Django database: PostgreSQL, MariaDB, MySQL or SQLite.

    A claim is committed on its own, unless the caller has opened a transaction or the profile says
    `CLAIM = "joined"`. On SQLite it is always joined.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.replays = Replays(cache=policy.cache, keys=tuple(policy.encryption_keys)) if policy.cache else None

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        if self.replays is None:
            return self._protocol().attempt(operation, work)
        return self.replays.through(operation, self.leases(), lambda: self._protocol().attempt(operation, work))

    def leases(self) -> Leases:
        return _leases(self.alias, self.replays)

    def on_commit(self, call: Callable[[], object]) -> None:
        # Without autocommit, Django tells nobody of a commit and refuses the call: then nothing is ever certain.
        with suppress(transaction.TransactionManagementError):
            transaction.on_commit(call, using=self.alias, robust=True)

    def observe(self, send: Callable[[], list[tuple[Any, Any]]]) -> None:
        if not connections[self.alias].in_atomic_block:
            send()
            return
        # A statement that failed in a receiver would fail the view's next one, too: undo what such receivers did.
        with suppress(_ReceiverFailed), transaction.atomic(using=self.alias):
            if any(isinstance(result, Exception) for _, result in send()):
                raise _ReceiverFailed

    def mismatched(self, operation: Operation) -> None:
        incidents.mismatch(self.alias, operation)

    @property
    def alias(self) -> str:
        """The database of the records: the profile's, else where the router writes them."""
        return database(self.policy)

    def _protocol(self) -> Committed | JoinedPostgreSQL | JoinedMySQL | JoinedSQLite:
        alias = self.alias
        connection = connections[alias]
        if connection.vendor not in SUPPORTED:
            raise ImproperlyConfigured(_unsupported(alias))
        if connection.vendor == "sqlite":
            return JoinedSQLite(_sqlite(alias), self.policy.join_timeout)
        joined = self.policy.claim == "joined" or connection.in_atomic_block or not _autocommit(connection)
        if connection.vendor == "mysql":
            return JoinedMySQL(_mysql(alias), self.policy.join_timeout) if joined else Committed(_mysql(alias))
        return JoinedPostgreSQL(_postgresql(alias)) if joined else Committed(_postgresql(alias))

    @classmethod
    def check(cls, policy: Policy) -> list[CheckMessage]:
        alias = database(policy)
        if alias not in connections.settings:
            hint = f"Known are {', '.join(sorted(connections.settings))}."
            fault = f"IDEMPOTENCY[{policy.profile!r}]['DATABASE'] names no database: {alias!r}."
            return [Error(fault, hint=hint, id="django_idempotency.E006")]
        found = (_check_vendor, _check_isolation, _check_replica, _check_zone)
        return [*check_cache(policy), *(message for check in found for message in check(policy, alias))]


class _ReceiverFailed(Exception):
    """Rolls back what a signal's receivers wrote."""


def database(policy: Policy) -> str:
    return policy.database or router.db_for_write(IdempotencyRecord)


def _autocommit(connection: BaseDatabaseWrapper) -> bool:
    with own_statement():
        return bool(connection.get_autocommit())


def _unsupported(alias: str) -> str:
    supported = "PostgreSQL, MariaDB, MySQL or SQLite"
    return f"Database {alias!r} is {connections[alias].display_name}: django_idempotency needs {supported}."


def _check_vendor(policy: Policy, alias: str) -> list[CheckMessage]:
    if connections[alias].vendor not in SUPPORTED:
        return [Error(_unsupported(alias), id="django_idempotency.E008")]
    return []


def _check_isolation(policy: Policy, alias: str) -> list[CheckMessage]:
    level = connections[alias].settings_dict.get("OPTIONS", {}).get("isolation_level")
    if connections[alias].vendor != "mysql" or str(level).lower() != "read uncommitted":
        return []
    return [
        Error(
            f"IDEMPOTENCY[{policy.profile!r}] keeps its records in {alias!r}, whose isolation level is 'read uncommitted'.",
            hint="A duplicate would be given an answer that may yet be rolled back. Use 'read committed', Django's default.",
            id="django_idempotency.E014",
        )
    ]


def _check_replica(policy: Policy, alias: str) -> list[CheckMessage]:
    if not connections[alias].settings_dict.get("TEST", {}).get("MIRROR"):
        return []
    return [
        Warning(
            f"IDEMPOTENCY[{policy.profile!r}] keeps its records in {alias!r}, which is a replica of another database.",
            hint="Records must be read where they are written. Name the primary in DATABASE.",
            id="django_idempotency.W004",
        )
    ]


def _check_zone(policy: Policy, alias: str) -> list[CheckMessage]:
    """PostgreSQL stores moments. The others store what a clock in the database's time zone shows."""
    name = (connections.settings[alias].get("TIME_ZONE") or "UTC") if settings.USE_TZ else settings.TIME_ZONE
    offsets = {datetime(2026, month, 1, tzinfo=ZoneInfo(name)).utcoffset() for month in (1, 7)}
    if len(offsets) == 1 or connections[alias].vendor == "postgresql":
        return []
    return [
        Warning(
            f"IDEMPOTENCY[{policy.profile!r}] keeps its records in {alias!r}, whose times follow the clocks of {name}.",
            hint=(
                "When those are set forward, leases end an hour early: coroutine views and durable operations that run then "
                "are taken for dead. Set USE_TZ = True, and no TIME_ZONE for this database."
            ),
            id="django_idempotency.W007",
        )
    ]
