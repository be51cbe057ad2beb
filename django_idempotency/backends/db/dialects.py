"""What each database is asked, statement by statement. The protocols decide when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import BooleanField, F, Func, Q, QuerySet
from django.db.models.lookups import Exact

from ...core.engine import Claim, Operation, Snapshot, StoredRecord
from ...core.states import State
from ...models import IdempotencyRecord
from . import statements
from .errors import own_statement
from .statements import COLUMNS, Slot, Statement, Values, slot, stored_record

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

# What a claim writes of an operation. Everything else has its default or is set by the completion.
CLAIM_COLUMNS = (
    *("id", "namespace", "scope", "key", "fingerprint", "claim", "method", "path"),
    *("request_headers", "request_body", "request_whole", "request_key_id", "amount", "currency"),
)
# And of a durable one.
DURABLE_COLUMNS = ("operation", "operation_input", "operation_key_id")
# What it writes for every operation, beside a token that is 0 until the view has started.
CLAIM_CONSTANTS: Values = {"state": State.PROCESSING.value, "headers": ""}


class Unindexed(Func):
    """A condition that no index serves: the primary key alone finds the row."""

    template = "(%(expressions)s) IS TRUE"
    output_field = BooleanField()


Records = QuerySet[IdempotencyRecord, Any]


class Dialect(ABC):
    """The statements for one database, compiled on first use and shared by all threads."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.alias]

    @property
    def id(self) -> Slot:
        """The place of a record's id in a statement."""
        return slot("id")

    def fetch(self, statement: Statement, values: Values, opened: CursorWrapper | None = None) -> list[Any] | None:
        """Execute a statement that reads at most one row, on a cursor that is open already if need be; the row, or None."""
        with own_statement(), nullcontext(opened) if opened else self.connection.cursor() as cursor:
            self.execute(cursor, statement, values)
            return statement.row(cursor)

    def change(self, statement: Statement, values: Values, opened: CursorWrapper | None = None) -> bool:
        """Execute a statement that writes at most one row, likewise; whether it did."""
        with own_statement(), nullcontext(opened) if opened else self.connection.cursor() as cursor:
            self.execute(cursor, statement, values)
            return bool(cursor.rowcount == 1)

    def execute(self, cursor: CursorWrapper, statement: Statement, values: Values) -> None:
        statement.execute(cursor, values)

    @property
    @abstractmethod
    def now(self) -> Any:
        """The database's time in a statement, moving on within a transaction."""

    @abstractmethod
    def completion(self) -> Values:
        """The times that a completion sets, as expressions."""

    @abstractmethod
    def same_transaction(self, transaction: str | None) -> bool:
        """
        Whether the view has left us in the transaction with this mark, asked when nothing of it is to be kept.

        One that has failed or is lost commits nothing: that is True.
        """

    def intact(self, transaction: str | None) -> bool:
        """The same, asked before the completion; True where the completing statement compares the transaction itself."""
        return True

    def undid(self, exc: BaseException) -> bool:
        """Whether the database has ended the view's transaction itself, by rolling it back, when it raised this."""
        return False

    def times(self, operation: Operation) -> Values:
        """What this database is told of the time: all of it, where it has no clock of its own."""
        return {}

    def records(self) -> Records:
        return IdempotencyRecord._base_manager.using(self.alias)

    def claimed(self) -> Records:
        """The record, while it is unfinished and the claim in it is ours."""
        unfinished = Unindexed(Exact(F("state"), State.PROCESSING.value))
        return self.records().filter(unfinished, id=self.id, claim=slot("claim"))

    @cached_property
    def insert(self) -> Statement:
        """Insert the claim of a view that has started; it writes no row where the record is there already."""
        row = {name: slot(name) for name in CLAIM_COLUMNS}
        return statements.insert(self.connection, {**row, **CLAIM_CONSTANTS, "token": 1, "claimed_at": self.now})

    @cached_property
    def read(self) -> Statement:
        return statements.select(self.connection, self.records().filter(id=self.id).values_list(*COLUMNS, self.now))

    def stored(self, operation: Operation) -> StoredRecord | None:
        """What the database holds for an operation."""
        row = self.fetch(self.read, {"id": operation.id, **self.times(operation)})
        return None if row is None else stored_record(row[:-1], row[-1])

    @cached_property
    def complete(self) -> Statement:
        changes = {name: slot(name) for name in ("status", "headers", "body", "body_key_id", "token")}
        finished = {"state": State.COMPLETED.value, **changes, **self.completion()}
        return statements.update(self.connection, self.ours_to_complete(), finished, name="complete")

    def ours_to_complete(self) -> Records:
        return self.claimed()

    @cached_property
    def doubt(self) -> Statement:
        """Leave our unfinished claim to a person: nobody knows what its view has committed."""
        return self._doubt(self.claimed())

    def _doubt(self, records: Records) -> Statement:
        return statements.update(self.connection, records, {"state": State.UNKNOWN.value})

    @cached_property
    def forget(self) -> Statement:
        """Delete a record that has outlived its tombstone: it, and not one that was claimed again since."""
        past = Q(state__in=[State.COMPLETED.value, State.TOMBSTONE.value], forget_at__lte=self.now)
        return statements.delete(self.connection, self.records().filter(past, id=self.id))


def claim_values(operation: Operation, number: int) -> Values:
    """What a new record says of an operation."""
    request = operation.request
    return {
        "id": operation.id,
        "namespace": operation.namespace,
        "scope": operation.scope,
        "key": operation.key,
        "fingerprint": operation.fingerprints[0],
        "claim": number,
        "method": operation.method[:32],
        "path": operation.path,
        "request_headers": request.headers,
        "request_body": request.body,
        "request_whole": request.whole,
        "request_key_id": request.key_id,
        "amount": request.amount,
        "currency": request.currency,
        "lease": operation.lease,
        **_durable_values(operation),
    }


def _durable_values(operation: Operation) -> Values:
    durable = operation.durable
    if durable is None:
        return {}
    return {
        "operation": durable.name,
        "operation_input": durable.input,
        "operation_key_id": durable.key_id,
    }


def claimed_values(claim: Claim) -> Values:
    """What names a claimed record in a WHERE."""
    return {"id": claim.operation.id, "claim": claim.number}


def snapshot_values(claim: Claim, snapshot: Snapshot) -> Values:
    """What a completed record says."""
    return {
        **claimed_values(claim),
        "token": claim.attempt,
        "status": snapshot.status,
        "headers": statements.headers_text(snapshot.headers),
        "body": snapshot.body,
        "body_key_id": snapshot.key_id,
        "retention": claim.operation.retention,
        "remembered": claim.operation.retention + claim.operation.tombstone,
    }
