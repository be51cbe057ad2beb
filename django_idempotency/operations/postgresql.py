"""The journal on PostgreSQL: record and step in one statement, and a phase that knows its transaction by the id."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..backends.db.runs import BoundaryBroken, close_if_lost
from ..backends.db.statements import Statement
from ..core.engine import Claim
from ..core.journal import Step
from ..exceptions import StoreUnavailable
from ..models import IdempotencyStep
from .store import Lost, Operations, available

TABLE = f'"{IdempotencyStep._meta.db_table}"'
COLUMNS = (
    *("record_id", "position", "name", "kind", "input", "input_key_id", "result", "result_key_id"),
    *("status", "gateway_key", "key_ttl"),
)
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
PLACES = ", ".join(["%s"] * len(COLUMNS))
FIELDS: list[Any] = [IdempotencyStep._meta.get_field(name) for name in COLUMNS]
# A WITH that writes is executed before what reads it: no row is added where the record is not ours.
ADD = f"INSERT INTO {TABLE} ({NAMES}, evidence, resolved_by, {{time}}) SELECT {PLACES}, '', '', statement_timestamp()"
REQUEST = ADD.format(time="requested_at") + " FROM held"
ADD_IN = ADD.format(time="finished_at") + " WHERE pg_current_xact_id()::text = %s"
FINISH = (
    f"UPDATE {TABLE} AS step SET result = %s, result_key_id = %s, finished_at = statement_timestamp()"  # noqa: S608
    " FROM held WHERE step.record_id = held.id AND step.position = %s"
)


class PostgreSQLOperations(Operations):
    @cached_property
    def holding(self) -> Statement:
        held = self.leases.extending
        return Statement(f"{held.sql} RETURNING pg_current_xact_id()::text", held.places)

    def request(self, claim: Claim, step: Step) -> None:
        self._with_record(claim, REQUEST, self._columns(claim, step))

    def finish(self, claim: Claim, step: Step) -> None:
        self._with_record(claim, FINISH, [*self._sealed(step.result), step.position])

    def _hold(self, claim: Claim) -> str | None:
        row = self.leases.dialect.fetch(self.holding, self.leases.values(claim))
        if row is None:
            raise Lost
        return str(row[0])

    def _add_in(self, mark: str | None, claim: Claim, step: Step) -> None:
        if not self._executed(ADD_IN, [*self._columns(claim, step), mark]):
            raise BoundaryBroken

    def _columns(self, claim: Claim, step: Step) -> list[Any]:
        row, connection = self.row(claim, step), self.leases.connection
        return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in FIELDS]

    def _with_record(self, claim: Claim, sql: str, parameters: list[Any]) -> None:
        held = self.leases.extending
        own = held.parameters(self.leases.values(claim), self.leases.connection)
        try:
            with available():
                hit = self._executed(f"WITH held AS ({held.sql} RETURNING id) {sql}", [*own, *parameters])
        except StoreUnavailable as exc:
            close_if_lost(self.leases.connection, exc)
            raise
        if not hit:
            raise Lost

    def _executed(self, sql: str, parameters: list[Any]) -> bool:
        with self.leases.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return bool(cursor.rowcount == 1)
