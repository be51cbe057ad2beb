"""
MariaDB and MySQL: read first, for an INSERT would wait for the lock under which a view runs; bounded waits; and a
savepoint round the view, which is gone once the view has ended its transaction.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import Error, IntegrityError
from django.db.models import BigIntegerField, DateTimeField, DurationField, Expression, IntegerField
from django.utils import timezone

from ...core.engine import GUARD, Again, Claim, Operation, StoredRecord, claim_number
from . import statements
from .dialects import CLAIM_COLUMNS, CLAIM_CONSTANTS, Dialect, Records, claim_values, claimed_values
from .errors import is_conflict, is_duplicate, is_held, is_without_savepoint
from .runs import Run
from .statements import Slot, Statement, Values, slot, stored_record

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper
    from django.db.models.sql.compiler import SQLCompiler

PATIENCE = 1
"""Seconds for which the owner of a claim waits for its own lock, because duplicates that just probe it would starve it."""

# MySQL has no settings for a single statement, and takes 0 for 1.
BOUNDED = "SET STATEMENT innodb_lock_wait_timeout=%s FOR "
BOUND = "SET @djidempotency_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = %s"
UNBOUND = "SET SESSION innodb_lock_wait_timeout = @djidempotency_wait"

WAIT = Slot("wait", IntegerField())
"""How long a statement waits for a lock, in whole seconds."""


class Clock(Expression):
    """
    The server's time, in the time zone in which Django keeps times there.

    Django's own Now() is in the time zone of the session, which Django leaves as it is on MariaDB and MySQL.
    """

    def __init__(self, offset: int | Slot) -> None:
        super().__init__(output_field=DateTimeField())
        self.offset = offset

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        if connection.timezone_name == "UTC":
            return "UTC_TIMESTAMP(6)", []
        return "(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)", [self.offset]


def clock(connection: BaseDatabaseWrapper) -> Clock:
    """The server's time, for a query that is compiled each time."""
    return Clock(utc_offset(connection))


def utc_offset(connection: BaseDatabaseWrapper) -> int:
    """How far the time zone of the stored times is ahead of UTC at present, in microseconds."""
    if connection.timezone_name == "UTC":
        return 0
    zone = connection.timezone or timezone.get_default_timezone()
    offset = datetime.now(zone).utcoffset()
    return round(offset.total_seconds() * 1_000_000) if offset else 0


class BoundedBySession(Statement):
    """On MySQL: the session's bound, which is put back behind the statement."""

    def execute(self, cursor: CursorWrapper, values: Values) -> None:
        wait, *parameters = self.parameters(values, cursor.db)
        with cursor.db.cursor() as session:
            session.execute(BOUND, [wait])
            try:
                cursor.execute(self.sql, parameters)
            finally:
                session.execute(UNBOUND)


def bounded(connection: BaseDatabaseWrapper, statement: Statement, wait: int | Slot) -> Statement:
    """The same statement, which is refused after so many seconds of waiting for a lock."""
    places = [wait, *statement.places]
    if connection.mysql_is_mariadb:  # type: ignore[attr-defined] # Django's MySQL has it
        return Statement(BOUNDED + statement.sql, places, statement.converters)
    return BoundedBySession(statement.sql, places, statement.converters)


class MySQL(Dialect):
    now = Clock(Slot("utc_offset", BigIntegerField()))

    def times(self, operation: Operation) -> Values:
        return {"utc_offset": utc_offset(self.connection)}

    def completion(self) -> Values:
        return {
            "completed_at": self.now,
            "expires_at": self.now + Slot("retention", DurationField()),
            "forget_at": self.now + Slot("remembered", DurationField()),
        }

    def claim(self, statement: Statement, operation: Operation) -> Run | StoredRecord | Again:
        """Read the record of an operation, or insert it where there is none."""
        record = self.stored(operation)
        if record is not None:
            return record
        return self.insert_claim(statement, operation, 0) or self.stored(operation) or Again.UNCLEAR

    def insert_claim(self, statement: Statement, operation: Operation, wait: int) -> Run | None:
        """Insert a new claim; None where a record is there already."""
        claim = Claim(operation=operation, number=claim_number())
        return Run(claim) if self.insert_unless_there(statement, claim, wait) else None

    def insert_unless_there(self, statement: Statement, claim: Claim, wait: int) -> bool:
        operation = claim.operation
        values = {**claim_values(operation, claim.number), **self.times(operation), "wait": wait}
        try:
            return self.change(statement, values)
        except IntegrityError as exc:
            if not is_duplicate(exc):
                raise
            return False

    @cached_property
    def claim_committed(self) -> Statement:
        return self._claim(token=0)

    @cached_property
    def claim_joined(self) -> Statement:
        return self._claim(token=1)

    def _claim(self, *, token: int) -> Statement:
        row: Values = {name: slot(name) for name in CLAIM_COLUMNS}
        row = {**row, **CLAIM_CONSTANTS, "token": token, "claimed_at": self.now}
        # Never INSERT IGNORE, which turns every fault of the data into a warning.
        return bounded(self.connection, statements.insert(self.connection, row, on_conflict=None), WAIT)

    def settled_record(self, operation: Operation) -> StoredRecord | None:
        """The record as it is committed, even where this transaction began before it was."""
        row = self.fetch(self.read_committed, {"id": operation.id, **self.times(operation)})
        return None if row is None else stored_record(row[:-1], row[-1])

    @cached_property
    def read_committed(self) -> Statement:
        read = self.read
        shared = Statement(f"{read.sql} LOCK IN SHARE MODE", read.places, read.converters)
        return bounded(self.connection, shared, 0)

    @cached_property
    def lock(self) -> Statement:
        """Take up our own claim."""
        return self._lock(self.claimed())

    @cached_property
    def lock_abandoned(self) -> Statement:
        """Take up what somebody else left. What was read before may have changed: all of it is asked again."""
        old = self.claimed().filter(claimed_at__lte=self.now - Slot("guard", DurationField()))
        return self._lock(old.filter(fingerprint=slot("fingerprint")))

    def _lock(self, records: Records) -> Statement:
        # Taken by writing the token: a view that commits on its own publishes a record that says "started".
        marked = statements.update(self.connection, records.filter(token=0), {"token": slot("token")})
        return bounded(self.connection, marked, WAIT)

    def lock_once(self, claim: Claim, cursor: CursorWrapper | None = None) -> str | None:
        """Take up a claim: the savepoint in front of its view, or None. Who takes over does not wait for the lock."""
        seen = claim.seen
        values = {
            **claimed_values(claim),
            **self.times(claim.operation),
            "token": claim.attempt,
            "fingerprint": seen and seen.fingerprint,
            "guard": GUARD,
            "wait": 0 if seen else PATIENCE,
        }
        return self.mark() if self.change(self.lock_abandoned if seen else self.lock, values, cursor) else None

    def mark(self) -> str:
        """A savepoint in front of the view."""
        return str(self.connection.savepoint())

    def same_transaction(self, transaction: str | None) -> bool:
        """`transaction` is the savepoint in front of the view: COMMIT, ROLLBACK, DDL and a deadlock remove it."""
        connection = self.connection
        if transaction is None or connection.closed_in_transaction:
            return True  # rolled back as a whole
        try:
            # Past Django, which refuses all statements in a transaction that is marked for rollback.
            with connection.wrap_database_errors:
                connection.create_cursor().execute(connection.ops.savepoint_commit_sql(transaction))
        except Error as exc:
            return not is_without_savepoint(exc)
        return True

    intact = same_transaction

    def undid(self, exc: BaseException) -> bool:
        return is_conflict(exc) or (isinstance(exc, Error) and is_held(exc))

    @cached_property
    def release(self) -> Statement:
        """Delete our claim, unless it is completed or its view has committed something on its own."""
        return bounded(self.connection, statements.delete(self.connection, self.claimed().filter(token=0)), PATIENCE)

    @cached_property
    def forget(self) -> Statement:
        return bounded(self.connection, super().forget, PATIENCE)

    @cached_property
    def doubt_started(self) -> Statement:
        """`doubt`, but only where the view has published the started record."""
        return self._doubt(self.claimed().filter(token__gt=0))

    def _doubt(self, records: Records) -> Statement:
        return bounded(self.connection, super()._doubt(records), PATIENCE)
