"""
The joined claim: claim, work and answer in one transaction, our own or the caller's.

Nobody sees the record before that transaction commits, and a crash leaves nothing at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Generic, TypeVar

from django.db import IntegrityError, transaction

from ... import incidents
from ...core.engine import (
    Again,
    Claim,
    Completed,
    Operation,
    Outcome,
    Refused,
    Released,
    StoredRecord,
    Verdict,
    Work,
    claim_number,
)
from ...exceptions import InFlight, StoreUnavailable, TransactionBroken
from .dialects import Dialect, claim_values, claimed_values
from .errors import Held, Unclear, is_duplicate, own_statement, reraise, translated
from .mysql import MySQL
from .postgresql import PostgreSQL
from .runs import (
    CONFLICT,
    BoundaryBroken,
    NotKept,
    Run,
    after_commit_failure,
    carry_out,
    close_if_lost,
    conflicted,
    failure_of,
    judged,
    settled,
)
from .sqlite import SQLite
from .statements import Values

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

D = TypeVar("D", bound=Dialect)
L = TypeVar("L", PostgreSQL, MySQL)


class Joined(ABC, Generic[D]):
    def __init__(self, dialect: D) -> None:
        self.dialect = dialect

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        return self.transact(partial(self.claim, operation), work)

    def transact(self, claim: Callable[[], Run | Outcome | Again], work: Work) -> Outcome | Again:
        run: Run | Outcome | Again | None = None
        try:
            with transaction.atomic(using=self.dialect.alias):
                run = claim()
                if not isinstance(run, Run):
                    return run
                carry_out(self.dialect, run, work)
        except BaseException as exc:  # noqa: BLE001 - a worker told to exit must undo its run, too
            close_if_lost(self.dialect.connection, exc)
            return self._failed(run, exc) if isinstance(run, Run) else self._not_claimed(exc)
        return Completed(run.claim)

    @abstractmethod
    def claim(self, operation: Operation) -> Run | Outcome | Again:
        """Insert the record as one whose view has started, or judge the one that is there."""

    @abstractmethod
    def undone(self, run: Run, exc: BaseException) -> None:
        """Clean up after a run whose transaction, or our part of it, is undone."""

    def _failed(self, run: Run, exc: BaseException) -> Outcome:
        if run.completed and not self.dialect.connection.in_atomic_block:
            return self._failed_to_commit(run, exc)
        self.undone(run, exc)
        # The transaction is over, or it is the caller's and may still be undone: incidents know how to wait for its end.
        broken = isinstance(exc, BoundaryBroken)
        incident = incidents.unknown(run.claim.operation) if broken else failure_of(run, exc)
        incidents.report(self.dialect.alias, incident)
        if isinstance(exc, NotKept):
            return Released(run.claim)
        if isinstance(exc, BoundaryBroken):
            raise TransactionBroken(BoundaryBroken.__doc__, outcome_known=False) from exc
        if conflicted(exc) and not self.dialect.connection.in_atomic_block:
            return Refused(InFlight(CONFLICT))
        if isinstance(exc, Unclear | Held) and exc.__cause__ is not None:
            # The caller, whose transaction this is, knows Django's exceptions, not ours.
            raise exc.__cause__
        raise exc

    def _failed_to_commit(self, run: Run, exc: BaseException) -> Outcome:
        """As for a committed claim: the database says what became of it."""
        try:
            if self.dialect.stored(run.claim.operation) is None:
                return after_commit_failure(exc)
            return settled(self.dialect, run, exc)
        except (Held, Unclear):
            return Refused(InFlight())

    def _not_claimed(self, exc: BaseException) -> Outcome | Again:
        meaning = translated(exc)
        if not isinstance(meaning, Held | Unclear):
            reraise(exc)
        connection = self.dialect.connection
        if connection.needs_rollback and not connection.settings_dict["ATOMIC_REQUESTS"]:
            # The database has undone all of the caller's transaction, of which only the caller knows what it was.
            raise exc.__cause__ if isinstance(exc, Held | Unclear) and exc.__cause__ else exc
        if connection.needs_rollback:
            return Refused(InFlight(CONFLICT))
        return Refused(InFlight()) if isinstance(meaning, Held) else Again.UNCLEAR


class JoinedByRowLock(Joined[L]):
    """Where a committed claim may be found, and be taken over."""

    def judge(self, operation: Operation, record: StoredRecord) -> Run | Outcome | Again:
        verdict = judged(self.dialect, operation, record)
        return self.take_over(verdict) if isinstance(verdict, Claim) else verdict

    def take_over(self, claim: Claim) -> Run:
        """Run what the dead owner of a committed claim has left."""
        transaction_id = self.dialect.lock_once(claim)
        if transaction_id is None:
            raise Held
        return Run(claim, transaction_id)

    def undone(self, run: Run, exc: BaseException) -> None:
        with suppress(Held, Unclear, StoreUnavailable):
            if isinstance(exc, BoundaryBroken):
                self._doubt(run.claim)
            # What a committed claim has left is still there; inside the caller's transaction it stays so.
            elif run.claim.seen and not self.dialect.connection.in_atomic_block:
                self.dialect.change(self.dialect.release, claimed_values(run.claim))

    def _doubt(self, claim: Claim) -> None:
        """Leave a record of the doubt."""
        connection = self.dialect.connection
        if not connection.in_atomic_block:
            with transaction.atomic(using=self.dialect.alias):
                self._write_doubt(connection, claim)
            return
        # The caller's transaction is broken. A pool may have no second connection to give, and takes settings along.
        fresh = connection.copy()
        fresh.settings_dict["OPTIONS"].pop("pool", None)
        try:
            with own_statement():
                fresh.set_autocommit(False)
            self._write_doubt(fresh, claim)
            fresh.commit()
        finally:
            fresh.close()

    @abstractmethod
    def _write_doubt(self, connection: BaseDatabaseWrapper, claim: Claim) -> None:
        """Insert the record if it is not there, and leave it to a person; without a long wait for anybody's lock."""


class JoinedPostgreSQL(JoinedByRowLock[PostgreSQL]):
    def claim(self, operation: Operation) -> Run | Outcome | Again:
        found = self.dialect.claim(self.dialect.claim_joined, operation)
        return self.judge(operation, found) if isinstance(found, StoredRecord) else found

    def _write_doubt(self, connection: BaseDatabaseWrapper, claim: Claim) -> None:
        with own_statement(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1s'")
            for statement in (self.dialect.insert, self.dialect.doubt):
                statement.execute(cursor, claim_values(claim.operation, claim.number))


class JoinedMySQL(JoinedByRowLock[MySQL]):
    """A second insert of the key waits for `join_timeout`, and is then "in flight"."""

    def __init__(self, dialect: MySQL, join_timeout: timedelta) -> None:
        super().__init__(dialect)
        self.wait = ceil(join_timeout.total_seconds())

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        if self.dialect.connection.in_atomic_block:
            return super().attempt(operation, work)
        # Outside the transaction: a read inside would fix what the view sees before the insert has waited.
        try:
            record = self.dialect.stored(operation)
            verdict = None if record is None else judged(self.dialect, operation, record)
        except (Held, Unclear):
            return Again.UNCLEAR
        if isinstance(verdict, Claim):
            return self.transact(partial(self.take_over, verdict), work)
        return verdict or self.transact(partial(self._insert, operation), work)

    def claim(self, operation: Operation) -> Run | Outcome | Again:
        record = self.dialect.stored(operation)
        return self._insert(operation) if record is None else self.judge(operation, record)

    def _insert(self, operation: Operation) -> Run | Outcome | Again:
        run = self.dialect.insert_claim(self.dialect.claim_joined, operation, self.wait)
        if run is not None:
            run.transaction = self.dialect.mark()
            return run
        record = self.dialect.settled_record(operation)
        return Again.UNCLEAR if record is None else self.judge(operation, record)

    def _write_doubt(self, connection: BaseDatabaseWrapper, claim: Claim) -> None:
        values = {**claim_values(claim.operation, claim.number), **self.dialect.times(claim.operation), "wait": 1}
        with own_statement(), connection.cursor() as cursor:
            try:
                self.dialect.claim_joined.execute(cursor, values)
            except IntegrityError as exc:
                if not is_duplicate(exc):
                    raise
            self.dialect.doubt.execute(cursor, values)


class JoinedSQLite(Joined[SQLite]):
    """
    The insert takes SQLite's one write lock, so a second writer waits for `join_timeout` and is then "in flight".

    SQLite has no transaction ids: a savepoint round the view, gone when the view ends the transaction, tells instead.
    """

    def __init__(self, dialect: SQLite, join_timeout: timedelta) -> None:
        super().__init__(dialect)
        self.join_timeout = join_timeout

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        if not self.dialect.connection.in_atomic_block:
            # Outside the transaction: a read inside would keep the insert from taking the write lock.
            found = self._read(operation)
            if not isinstance(found, Claim | Again):
                return found
        return super().attempt(operation, work)

    def _read(self, operation: Operation) -> Verdict:
        try:
            record = self.dialect.stored(operation)
            return Again.UNCLEAR if record is None else judged(self.dialect, operation, record)
        except Held:
            return Refused(InFlight())

    def claim(self, operation: Operation) -> Run | Outcome | Again:
        claim = Claim(operation=operation, number=claim_number())
        with self._patience():
            inserted = self.dialect.change(self.dialect.insert, self._values(claim))
        if inserted:
            return Run(claim, self.dialect.connection.savepoint())
        found = self._read(operation)
        return Refused(InFlight()) if isinstance(found, Claim) else found

    def _values(self, claim: Claim) -> Values:
        return {**claim_values(claim.operation, claim.number), **self.dialect.times(claim.operation)}

    @contextmanager
    def _patience(self) -> Iterator[None]:
        connection = self.dialect.connection
        usual = connection.settings_dict["OPTIONS"].get("timeout", 5)
        wanted = self.join_timeout.total_seconds()
        if wanted == usual:
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(wanted * 1000)}")
            try:
                yield
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {int(usual * 1000)}")

    def undone(self, run: Run, exc: BaseException) -> None:
        if not isinstance(exc, BoundaryBroken):
            return
        # What the view wrote after its own ROLLBACK is committed, and its record is not: say so, past Django, which
        # refuses all statements in a transaction that is marked for rollback.
        connection, values = self.dialect.connection, self._values(run.claim)
        for statement in (self.dialect.insert, self.dialect.doubt):
            connection.create_cursor().execute(statement.sql, statement.parameters(values, connection))
