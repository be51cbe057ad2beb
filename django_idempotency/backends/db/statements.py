"""
The statements of the protocol, compiled once for a database by Django's SQL compiler and executed many times.

Building a query anew for every request would cost more than the database takes to answer it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from django.db import models
from django.db.models import Expression
from django.db.models.constants import OnConflict
from django.db.models.sql import DeleteQuery, InsertQuery, UpdateQuery

from ...core.engine import Snapshot, StoredRecord
from ...core.states import State
from ...models import IdempotencyRecord

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper
    from django.db.models.sql.compiler import SQLCompiler

Values = dict[str, Any]

# What the protocol reads of a record, in this order.
COLUMNS = (
    "state",
    "claim",
    "token",
    "fingerprint",
    "claimed_at",
    "expires_at",
    "forget_at",
    "lease_until",
    "status",
    "headers",
    "body",
    "body_key_id",
)


class Slot(Expression):
    """A place in a compiled statement for a value that comes with each execution."""

    def __init__(self, name: str, output_field: models.Field[Any, Any], db_type: str = "") -> None:
        super().__init__(output_field=output_field)
        self.name = name
        self._db_type = db_type

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        """The database's type of the values, which need not be sent as what they are."""
        return self._db_type or str(self.output_field.db_type(connection))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return "%s", (self,)


TABLE = Slot("table", models.BigIntegerField())
"""The place of the number of the table that a statement was prepared for: NULL where it was not."""


def slot(column: str) -> Slot:
    """A slot named after a column of the record, and of its type."""
    return Slot(column, _field(column))


def _field(column: str) -> models.Field[Any, Any]:
    return cast("models.Field[Any, Any]", IdempotencyRecord._meta.get_field(column))


PLAIN = frozenset({str, int, bool, bytes, type(None)})

Prepare = Callable[[Values, "BaseDatabaseWrapper"], Any]
Convert = Callable[[Any, "BaseDatabaseWrapper"], Any]


class Statement:
    """
    SQL with slots, ready to be executed on any connection to its database.

    One that every request needs has a name, under which a session of the database may keep its plan, and that of others
    which follow on it.
    """

    def __init__(
        self,
        sql: str,
        parameters: Iterable[Any],
        converters: Sequence[tuple[int, Convert]] = (),
        *,
        name: str = "",
        followers: Sequence[Statement] = (),
    ) -> None:
        self.sql = sql
        self.name = name
        self.followers = followers
        self.places = list(parameters)
        self.slots = list(dict.fromkeys(place for place in self.places if isinstance(place, Slot)))
        self._parameters = [_preparation(place) for place in self.places]
        self._arguments = [_preparation(slot) for slot in self.slots if slot is not TABLE]
        self.converters = converters

    def parameters(self, values: Values, connection: BaseDatabaseWrapper) -> list[Any]:
        """What goes with the SQL, in its order."""
        return [prepare(values, connection) for prepare in self._parameters]

    def arguments(self, values: Values, connection: BaseDatabaseWrapper) -> list[Any]:
        """What fills the slots, each once, but for that of the table."""
        return [prepare(values, connection) for prepare in self._arguments]

    def execute(self, cursor: CursorWrapper, values: Values) -> None:
        cursor.execute(self.sql, self.parameters(values, cursor.db))

    def row(self, cursor: CursorWrapper) -> list[Any] | None:
        """The one row that an executed statement has read, or None."""
        row = cursor.fetchone()
        if row is None:
            return None
        fields = list(row)
        for position, convert in self.converters:
            fields[position] = convert(fields[position], cursor.db)
        return fields


def _preparation(parameter: Any) -> Prepare:
    if not isinstance(parameter, Slot) or parameter is TABLE:
        constant = None if parameter is TABLE else parameter
        return lambda values, connection: constant
    name, field = parameter.name, parameter.output_field

    def prepare(values: Values, connection: BaseDatabaseWrapper) -> Any:
        value = values[name]
        # What every driver takes as it is. Asking the field costs more than the rest.
        return value if type(value) in PLAIN else field.get_db_prep_value(value, connection, prepared=False)

    return prepare


def select(connection: BaseDatabaseWrapper, queryset: models.QuerySet[Any, Any]) -> Statement:
    compiler = queryset.query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    converters = compiler.get_converters([expression for expression, _sql, _alias in compiler.select])
    return Statement(sql, parameters, [(position, _conversion(*found)) for position, found in converters.items()])


def _conversion(functions: list[Any], expression: Any) -> Convert:
    def convert(value: Any, connection: BaseDatabaseWrapper) -> Any:
        for function in functions:
            value = function(value, expression, connection)
        return value

    return convert


def insert(
    connection: BaseDatabaseWrapper, row: Values, *, on_conflict: OnConflict | None = OnConflict.IGNORE
) -> Statement:
    """An INSERT that leaves an existing record alone; it writes no row then, or fails where `on_conflict` is None."""
    query = InsertQuery(IdempotencyRecord, on_conflict=on_conflict)
    query.insert_values([_field(name) for name in row], [IdempotencyRecord(**row)], raw=True)
    ((sql, parameters),) = query.get_compiler(connection=connection).as_sql()
    return Statement(sql, parameters)


def update(
    connection: BaseDatabaseWrapper, queryset: models.QuerySet[Any, Any], changes: Values, *, name: str = ""
) -> Statement:
    query = cast("UpdateQuery", queryset.query.chain(UpdateQuery))
    query.add_update_values(changes)
    return Statement(*query.get_compiler(connection=connection).as_sql(), name=name)


def delete(connection: BaseDatabaseWrapper, queryset: models.QuerySet[Any, Any]) -> Statement:
    query = queryset.query.chain(DeleteQuery)
    return Statement(*query.get_compiler(connection=connection).as_sql())


def stored_record(row: Sequence[Any], now: Any) -> StoredRecord:
    """A record as the engine judges it, from a row of COLUMNS."""
    state, claim, token, fingerprint, claimed_at, expires_at, forget_at, lease_until, *answer = row
    return StoredRecord(
        state=State(state),
        claim=claim,
        token=token,
        fingerprint=bytes(fingerprint),
        now=now,
        claimed_at=claimed_at,
        expires_at=expires_at,
        forget_at=forget_at,
        lease_until=lease_until,
        snapshot=_snapshot(*answer) if state == State.COMPLETED else None,
    )


def _snapshot(status: int, headers: str, body: Any, key_id: str) -> Snapshot:
    pairs = tuple((name, value) for name, value in json.loads(headers))
    return Snapshot(status, pairs, None if body is None else bytes(body), key_id)


def headers_text(headers: tuple[tuple[str, str], ...]) -> str:
    """Headers as text that keeps their order; jsonb would refuse some values."""
    return json.dumps(headers)
