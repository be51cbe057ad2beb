"""
The SQL of the protocol, and what PostgreSQL may answer to it.

`execute` gives every possible outcome; none means that the statement waits. A connection lost on the way is the
checker's business: it may happen to every statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from .database import COMPLETED, TOMBSTONE, Database, Row

Where = tuple[tuple[str, Any], ...]


class LockNotAvailable(Exception):
    """NOWAIT was refused, or lock_timeout ended the wait."""


class ConnectionLost(Exception):
    """Nobody answered. What the server made of it is not known."""


class HookError(Exception):
    """A hook of on_commit raised, after the COMMIT."""


REFUSED, LOST, HOOK = LockNotAvailable, ConnectionLost, HookError


class Outcome(NamedTuple):
    """`fault`: the world was unkind, which the checker counts."""

    label: str
    database: Database
    result: Any = None
    fault: bool = False


def matches(where: Where, row: Row | None, database: Database, actor: int) -> bool:
    """Whether a WHERE holds for a row. A column that is not named is not looked at."""
    return row is not None and all(_holds(column, value, row, database, actor) for column, value in where)


def _holds(column: str, value: Any, row: Row, database: Database, actor: int) -> bool:
    if column == "transaction":
        own = database.transaction(actor)
        return own is not None and own.xid == value
    if column == "age":
        return row.age >= value
    if column == "answered":
        return (row.state in (COMPLETED, TOMBSTONE)) is value
    if column == "started":
        return (row.token > 0) is value
    return bool(getattr(row, column) == value)


def _timeout(database: Database, actor: int) -> list[Outcome]:
    return [Outcome("waits in vain", database, REFUSED, fault=True)]


@dataclass(frozen=True)
class Read:
    """SELECT … WHERE id"""

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        seen = database.visible(actor)
        return [Outcome(f"sees {seen or 'no record'}", database, seen)]


@dataclass(frozen=True)
class Gate:
    """pg_try_advisory_xact_lock, on the way from the snapshot of a claim to its INSERT."""

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        if database.advisory_holder(actor):
            return [Outcome("is shut", database, REFUSED)]
        return [Outcome("opens", database.begin(actor).change(actor, advisory=True))]


@dataclass(frozen=True)
class Insert:
    """
    INSERT … ON CONFLICT DO NOTHING: whether it did. Waits for another transaction's uncommitted write of the same key.

    Committed on its own, or `within` a transaction that stays open. Either way nothing stays open where it inserts none.
    """

    row: Row
    within: bool = False

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        if database.writer(actor):
            return []
        if database.row is not None:
            return [Outcome("inserts nothing", database.close(actor), False)]
        if self.within:
            inserted = database.begin(actor).change(actor, locked=True, pending=self.row)
            return [Outcome(f"inserts {self.row}, uncommitted", inserted, True)]
        claimed = database.close(actor).publish(self.row, before=database, flush=False)
        return [Outcome(f"commits {self.row}", claimed, True)]


@dataclass(frozen=True)
class Lock:
    """
    BEGIN; UPDATE … WHERE … AND pg_try_advisory_xact_lock: the row lock, taken by a write. Whether it has it; if not,
    nothing stays open. Who `waits` asks again and again while somebody else is at the row as it should be.
    """

    where: Where
    changes: Where
    waits: bool
    alone: bool = True

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        if not matches(self.where, database.row, database, actor):
            return [Outcome("locks nothing", database, False)]
        if self.alone and database.advisory_holder(actor) and not self.waits:
            return [Outcome("finds somebody at it", database, False)]
        if (self.alone and database.advisory_holder(actor)) or database.lock_holder(actor):
            return _timeout(database, actor)
        row = database.row._replace(**dict(self.changes))
        locked = database.begin(actor).change(actor, locked=True, pending=row, advisory=self.alone)
        return [Outcome(f"locks {row}", locked, True)]


@dataclass(frozen=True)
class Update:
    """UPDATE inside the open transaction: how many rows."""

    where: Where
    changes: Where

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        begun = database.begin(actor)
        row = begun.visible(actor)
        if not matches(self.where, row, begun, actor):
            return [Outcome("updates nothing", begun, 0)]
        if not begun.transaction(actor).locked and begun.lock_holder(actor):
            return _timeout(begun, actor)
        changed = row._replace(**dict(self.changes))
        return [Outcome(f"updates to {changed}", begun.change(actor, locked=True, pending=changed), 1)]


@dataclass(frozen=True)
class Change:
    """UPDATE or (to None) DELETE, committed on its own: how many rows. SKIP LOCKED changes none that is locked."""

    where: Where
    changes: Where | None
    skip_locked: bool = False

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        if not matches(self.where, database.row, database, actor):
            return [Outcome("changes nothing", database, 0)]
        if database.lock_holder(actor):
            return [Outcome("skips it", database, 0)] if self.skip_locked else _timeout(database, actor)
        row = None if self.changes is None else database.row._replace(**dict(self.changes))
        label = f"commits {row}" if row else f"deletes {database.row}"
        return [Outcome(label, database.publish(row), 1)]


@dataclass(frozen=True)
class Commit:
    """COMMIT. A hook may raise after it; a raw one has none."""

    flush: bool = True
    hook: bool = False

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        own = database.transaction(actor)
        if own is None:
            return [Outcome("commits nothing", database)]
        after = database.commit(own, flush=self.flush)
        outcomes = [Outcome("commits", after)]
        if self.hook:
            outcomes.append(Outcome("commits; a hook of on_commit raises", after, HOOK, fault=True))
        return outcomes


@dataclass(frozen=True)
class Rollback:
    """ROLLBACK"""

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        own = database.transaction(actor)
        return [Outcome("rolls back", database.rollback(own) if own else database)]


@dataclass(frozen=True)
class SameTransaction:
    """Whether pg_current_xact_id_if_assigned() is the one that is expected. In a new transaction there is none."""

    xid: tuple[int, int]

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        own = database.transaction(actor)
        same = own is not None and own.xid == self.xid
        return [Outcome("finds its own" if same else "finds another one", database, same)]


@dataclass(frozen=True)
class Work:
    """The view writes its effect, and goes on in one of these ways."""

    run: int
    endings: tuple[str, ...]
    starts: bool = True

    def execute(self, database: Database, actor: int) -> list[Outcome]:
        begun = database.begin(actor).change(actor, run=self.run)
        return [Outcome(f"runs the view ({ending})", begun, ending) for ending in self.endings]
