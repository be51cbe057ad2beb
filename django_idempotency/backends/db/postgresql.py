"""PostgreSQL: insert-or-read in one statement, row locks, and transaction ids that tell when a view broke its bounds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import Error
from django.db.models import BigIntegerField, BooleanField, DurationField, Func, Q, TextField
from django.db.models.functions import Now
from django.db.models.lookups import Exact

from ...core.engine import GUARD, Again, Claim, Operation, Refused, StoredRecord, claim_number
from ...core.states import State
from ...exceptions import InFlight
from ...models import IdempotencyRecord
from . import statements
from .dialects import CLAIM_COLUMNS, CLAIM_CONSTANTS, DURABLE_COLUMNS, Dialect, Records, claim_values, claimed_values
from .errors import own_statement
from .runs import Run
from .sessions import Sessions
from .statements import COLUMNS, TABLE, Slot, Statement, Values, slot, stored_record

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

# An existing record is only read: the gate is not asked then. The gate is shut while another transaction is at work on
# the same key; it says so at once, where the INSERT would wait for that transaction's row. Where the gate opens and
# nothing is inserted, somebody else was faster: read again. The gate is for speed, the primary key decides.
# PostgreSQL keeps a prepared plan on its table when another of that name appears earlier in the search_path. So a prepared
# claim is told the table that it was made for, and does nothing where the name now stands for another.
CLAIM = """
WITH here AS MATERIALIZED (SELECT coalesce(to_regclass('{table}')::oid::bigint = %s, true) AS same),
existing AS (SELECT {columns} FROM {table} WHERE id = %s AND (SELECT same FROM here)),
gate AS MATERIALIZED (SELECT {gate} AS opened FROM here WHERE same AND NOT EXISTS (SELECT FROM existing)),
inserted AS (
    INSERT INTO {table} ({targets}, claimed_at)
    SELECT {values}, statement_timestamp() FROM gate WHERE opened
    ON CONFLICT (id) DO NOTHING
    RETURNING 1)
SELECT same, (SELECT opened FROM gate), (SELECT pg_current_xact_id()::text FROM inserted),
    date_part('epoch', statement_timestamp()), existing.*
FROM here LEFT JOIN existing ON true
"""
# Read as seconds: Django's loader of timestamps, for the four of a replay, takes 5 % of its time.
TIMES = ("claimed_at", "expires_at", "forget_at", "lease_until")
ALONE = "pg_try_advisory_xact_lock(%s)"
# A committed claim need not wait for the disk: the log is ordered, so a claim lost in a crash is lost with all that
# followed it.
LAZY = "set_config('synchronous_commit', 'off', true) = 'off'"
# The row lock is the lease. It is taken by writing the token, for then a view that commits on its own publishes a
# record that says "started": nobody runs it again. The advisory lock keeps claims with an old snapshot from waiting for
# this row, and tells at once that somebody else is at it. Should the row be locked all the same, by hand perhaps, the
# wait is bounded; the transaction's own bound is put back before the view runs. No index serves the condition on state, for
# a planner that thinks the table small or the state rare may prefer the index of what is due to the primary key.
LOCK = """
UPDATE {table} SET token = %s
WHERE id = %s AND claim = %s AND (state = '{processing}') IS TRUE AND token = 0{conditions} AND pg_try_advisory_xact_lock(%s)
AND set_config('lock_timeout', left(set_config('djidempotency.before', current_setting('lock_timeout'), true), 0) || '1000',
    true) IS NOT NULL
RETURNING pg_current_xact_id()::text, set_config('lock_timeout', current_setting('djidempotency.before'), true)
"""
ABANDONED = " AND fingerprint = %s AND claimed_at <= statement_timestamp() - %s"


class CurrentTransaction(Func):
    """The id of the outermost transaction."""

    template = "pg_current_xact_id()::text"
    output_field = TextField()


class BoundedWait(Func):
    """True; from here on this transaction waits a second at most for a lock."""

    template = "set_config('lock_timeout', '1000', true) IS NOT NULL"
    output_field = BooleanField()


class Durable(Func):
    """True; this transaction reaches the disk before the client hears of it, even where the database is set to be lazy."""

    template = (
        "CASE current_setting('synchronous_commit') WHEN 'off'"
        " THEN set_config('synchronous_commit', 'on', true) = 'on' ELSE true END"
    )
    output_field = BooleanField()


class Hexadecimal(TextField):  # type: ignore[type-arg]
    """A UUID as text, without dashes: psycopg takes as long for one UUID as for all the rest of a statement."""

    def get_db_prep_value(self, value: UUID, connection: BaseDatabaseWrapper, prepared: bool = False) -> str:
        return value.hex


class Seconds(DurationField):  # type: ignore[type-arg]
    """A duration as text, to be added to a time: it takes psycopg a third of the time."""

    def get_db_prep_value(self, value: timedelta, connection: BaseDatabaseWrapper, prepared: bool = False) -> str:
        return f"{value.total_seconds():f} seconds"


class PostgreSQL(Dialect):
    now = Now()
    id = Slot("id", Hexadecimal(), db_type="uuid")

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._sessions = Sessions()

    def execute(self, cursor: CursorWrapper, statement: Statement, values: Values) -> None:
        self._sessions.execute(cursor, statement, values)

    def completion(self) -> Values:
        return {
            "completed_at": Now(),
            "expires_at": Now() + Slot("retention", Seconds()),
            "forget_at": Now() + Slot("remembered", Seconds()),
        }

    def ours_to_complete(self) -> Records:
        # The view may have ended our transaction behind Django's back: then this statement runs in another one.
        same = Exact(CurrentTransaction(), Slot("transaction", TextField()))
        return self.claimed().filter(Q(Durable()), Q(same))

    @cached_property
    def claim_committed(self) -> Statement:
        return self._claim(f"{ALONE} AND {LAZY}", token=0, name="claim_committed", followers=[self.lock, self.complete])

    @cached_property
    def claim_joined(self) -> Statement:
        return self._claim(ALONE, token=1, name="claim_joined", followers=[self.complete])

    @cached_property
    def claim_leased(self) -> Statement:
        # What its work does cannot be undone: this claim must not be lost in a crash.
        return self._claim(f"{ALONE} AND {Durable.template}", token=1, leased=True)

    @cached_property
    def claim_durable(self) -> Statement:
        return self._claim(f"{ALONE} AND {Durable.template}", token=1, leased=True, added=DURABLE_COLUMNS)

    def claim(self, statement: Statement, operation: Operation) -> Run | StoredRecord | Refused | Again:
        """Insert the record of an operation, or read the one that is there."""
        claim = Claim(operation=operation, number=claim_number())
        values = {**claim_values(operation, claim.number), "advisory": advisory_key(operation)}
        with own_statement():
            cursor = self.connection.cursor()
        same, opened, transaction, now, *columns = self.fetch(statement, values, cursor) or []
        if not same:
            self._sessions.give_up(self.connection)
            return Again.UNCLEAR
        if transaction is not None:
            return Run(claim, transaction, cursor=cursor)
        if columns[0] is not None:
            return stored_record(columns, now)
        return Again.UNCLEAR if opened else Refused(InFlight())

    def same_transaction(self, transaction: str | None) -> bool:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id_if_assigned()::text")
                return bool(cursor.fetchone()[0] == transaction)
        except Error:
            return True

    def _claim(
        self,
        gate: str,
        *,
        token: int,
        name: str = "",
        followers: Sequence[Statement] = (),
        leased: bool = False,
        added: Sequence[str] = (),
    ) -> Statement:
        quote = self.connection.ops.quote_name
        columns = {name: self.id if name == "id" else slot(name) for name in (*CLAIM_COLUMNS, *added)}
        row = {**columns, **CLAIM_CONSTANTS, "token": token}
        lease = [Slot("lease", DurationField())] if leased else []
        sql = CLAIM.format(
            columns=", ".join(f"date_part('epoch', {name})" if name in TIMES else quote(name) for name in COLUMNS),
            table=quote(IdempotencyRecord._meta.db_table),
            gate=gate,
            targets=", ".join(quote(name) for name in (*row, *(["lease_until"] if leased else []))),
            values=", ".join([*["%s"] * len(row), *(["statement_timestamp() + %s"] if leased else [])]),
        )
        return Statement(
            sql,
            [TABLE, self.id, advisory_slot(), *row.values(), *lease],
            [(3, _moment), *((4 + COLUMNS.index(name), _moment) for name in TIMES)],
            name=name,
            followers=followers,
        )

    @cached_property
    def lock(self) -> Statement:
        """Take up our own claim."""
        return self._lock("", [], name="lock")

    @cached_property
    def lock_abandoned(self) -> Statement:
        """Take up what somebody else left. What was read before may have changed: all of it is asked again."""
        return self._lock(ABANDONED, [slot("fingerprint"), Slot("guard", DurationField())])

    def lock_once(self, claim: Claim, cursor: CursorWrapper | None = None) -> str | None:
        """Try to take up a claim: the id of the transaction that now holds it, or None."""
        seen = claim.seen
        values = {
            **claimed_values(claim),
            "token": claim.attempt,
            "advisory": advisory_key(claim.operation),
            "fingerprint": seen and seen.fingerprint,
            "guard": GUARD,
        }
        row = self.fetch(self.lock_abandoned if seen else self.lock, values, cursor)
        return str(row[0]) if row else None

    def _lock(self, conditions: str, slots: list[Slot], *, name: str = "") -> Statement:
        table = self.connection.ops.quote_name(IdempotencyRecord._meta.db_table)
        sql = LOCK.format(table=table, processing=State.PROCESSING.value, conditions=conditions)
        return Statement(sql, [slot("token"), self.id, slot("claim"), *slots, advisory_slot()], name=name)

    @cached_property
    def release(self) -> Statement:
        """Delete our claim, unless it is completed or its view has committed something on its own."""
        untouched = self.claimed().filter(Q(BoundedWait()), token=0)
        return statements.delete(self.connection, untouched)

    @cached_property
    def doubt_started(self) -> Statement:
        """`doubt`, but only where the view has published the started record."""
        return self._doubt(self.claimed().filter(token__gt=0))

    def _doubt(self, records: Records) -> Statement:
        return super()._doubt(records.filter(Q(BoundedWait())))


def _moment(seconds: float | None, connection: BaseDatabaseWrapper) -> datetime | None:
    # A double has room for the microseconds of the next two centuries.
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def advisory_slot() -> Slot:
    return Slot("advisory", BigIntegerField())


def advisory_key(operation: Operation) -> int:
    """A signed 64-bit number of the record's: two records that share one are told "in flight" now and then, no worse."""
    return int.from_bytes(operation.id.bytes[:8], "big", signed=True)
