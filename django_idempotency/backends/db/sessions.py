"""
Prepared statements. PostgreSQL takes longer to plan a statement of ours than to execute it.

They belong to a session of the server, so they are only used where a connection leads to one and the same session. Behind
a pooler such as pgbouncer it may not: the server's process is then another one than the driver was told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import Error

from ...models import IdempotencyRecord
from .errors import Unclear, sqlstate
from .statements import TABLE

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

    from .statements import Statement, Values

logger = logging.getLogger("django_idempotency")

# The name is unknown; or the table has changed under the plan.
UNPREPARED = frozenset({"26000", "0A000"})
# Shutdown, or no connection any more: that says nothing about preparing.
LOST = ("08", "57P")
# A plan made while the table is empty would read it from end to end, and would be kept while it grows: the plan is made
# here, for a table that is not to be read so. Where that costs more than planning anew, PostgreSQL plans anew.
PREPARED = """
SET LOCAL plan_cache_mode = force_generic_plan;
SET LOCAL enable_seqscan = off;
{remove}PREPARE {statement};
EXPLAIN EXECUTE {call};
SET LOCAL plan_cache_mode = {usual_mode};
SET LOCAL enable_seqscan = {usual_scan};
"""
BEFORE = """
SELECT current_setting('plan_cache_mode'), current_setting('enable_seqscan'),
    EXISTS(SELECT FROM pg_prepared_statements WHERE name = %s), to_regclass(%s)::oid
"""
LASTING = 60.0
"""Seconds after which a statement is prepared anew: PostgreSQL plans it again by itself whenever the table was analysed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that this session has prepared."""

    call: str
    """The SQL that executes it, on the table that its plan is for."""
    until: float


@dataclass(slots=True)
class Session:
    """What is known of the session behind one connection of the driver."""

    direct: bool | None = None
    """Whether it stays the same; None before anybody asked."""
    prepared: dict[str, Prepared | None] = field(default_factory=dict)
    """By the statement's name."""

    def lasts(self, statement: Statement) -> bool:
        """Whether nothing is to be prepared now. The first time it never is: a connection may not live long."""
        if statement.name not in self.prepared:
            self.prepared[statement.name] = None
            return True
        found = self.prepared[statement.name]
        return found is not None and found.until > monotonic()

    def is_direct(self, connection: BaseDatabaseWrapper) -> bool:
        if self.direct is None:
            self.direct = can_prepare(connection)
        return self.direct


class Sessions:
    def __init__(self) -> None:
        self._sessions: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()
        self._reliable = True

    def execute(self, cursor: CursorWrapper, statement: Statement, values: Values) -> None:
        """Execute a statement, prepared where that can be. What follows on a claim is prepared with it, before the view."""
        prepared = self._prepared(cursor.db, statement)
        if prepared is None:
            statement.execute(cursor, values)
            return
        try:
            cursor.execute(prepared.call, statement.arguments(values, cursor.db))
        except Error as exc:
            if sqlstate(exc) not in UNPREPARED:
                raise
            self.give_up(cursor.db, exc)
            statement.execute(cursor, values)

    def give_up(self, connection: BaseDatabaseWrapper, exc: Exception | None = None) -> None:
        """Prepare nothing any more. Raises Unclear where the transaction has failed: nothing of it is kept."""
        logger.warning("Prepared statements do not last on %r: doing without.", connection.alias, exc_info=exc)
        self._reliable = False
        if not connection.get_autocommit():
            raise Unclear from exc

    def _prepared(self, connection: BaseDatabaseWrapper, statement: Statement) -> Prepared | None:
        """None where the statement is to be sent as it is."""
        if not self._reliable:
            return None
        session = self._sessions.get(connection.connection)
        if session is None:
            session = self._sessions[connection.connection] = Session()
        if statement.followers and not session.lasts(statement):
            self._prepare(session, connection, statement)
        return session.prepared.get(statement.name)

    def _prepare(self, session: Session, connection: BaseDatabaseWrapper, statement: Statement) -> None:
        try:
            if session.is_direct(connection):
                for one in (statement, *statement.followers):
                    session.prepared[one.name] = prepare(connection, one)
        except Error as exc:
            state = sqlstate(exc)
            if state is None or state.startswith(LOST):
                raise
            self.give_up(connection, exc)


def can_prepare(connection: BaseDatabaseWrapper) -> bool:
    """Whether statements can be prepared by name: not with parameters bound by the server, nor with those of the driver."""
    driver = connection.connection
    if connection.settings_dict["OPTIONS"].get("server_side_binding"):
        return False
    if getattr(driver, "prepare_threshold", None) is not None:
        # The driver deletes all prepared statements of the session now and then.
        return False
    with connection.wrap_database_errors, driver.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] == getattr(getattr(driver, "info", None), "backend_pid", None))


def prepare(connection: BaseDatabaseWrapper, statement: Statement) -> Prepared:
    """Prepare and plan a statement on this connection, anew if need be."""
    name = f"django_idempotency_{statement.name}"
    numbers = {slot: f"${number}" for number, slot in enumerate(statement.slots, start=1)}
    sql = statement.sql.replace("%%", "%%%%") % tuple(numbers.get(place, "%s") for place in statement.places)
    types = ", ".join(slot.db_type(connection) for slot in statement.slots)
    table = connection.ops.quote_name(IdempotencyRecord._meta.db_table)
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(BEFORE, [name, table])
        usual_mode, usual_scan, exists, oid = cursor.fetchone()
        planned = PREPARED.format(
            remove=f"DEALLOCATE {name}; " if exists else "",
            statement=f"{name} ({types}) AS {sql}",
            call=f"{name} ({', '.join(['NULL'] * len(numbers))})",
            usual_mode=usual_mode,
            usual_scan=usual_scan,
        )
        cursor.execute(planned, [place for place in statement.places if place not in numbers])
    arguments = ", ".join(str(oid) if slot is TABLE else "%s" for slot in statement.slots)
    return Prepared(f"EXECUTE {name} ({arguments})", monotonic() + LASTING)
