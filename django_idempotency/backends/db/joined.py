"""
The joined claim: claim, work and answer in one transaction, our own or the caller's.

Nobody sees the record before that transaction commits, and a crash leaves nothing at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Generic, TypeVar

from django.db import transaction

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
from .errors import Held, Unclear, own_statement, reraise, translated
from .postgresql import PostgreSQL
from .runs import (
    CONFLICT,
    BoundaryBroken,
    NotKept,
    Run,
    after_commit_failure,
    close_if_lost,
    complete,
    conflicted,
    judged,
    perform,
    settled,
)
from .sqlite import SQLite
from .statements import Values

D = TypeVar("D", bound=Dialect)


class Joined(ABC, Generic[D]):
    def __init__(self, dialect: D) -> None:
        self.dialect = dialect

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        run: Run | Outcome | Again | None = None
        try:
            with transaction.atomic(using=self.dialect.alias):
                run = self.claim(operation)
                if not isinstance(run, Run):
                    return run
                self.work(run, work)
        except BaseException as exc:  # noqa: BLE001 - a worker told to exit must undo its run, too
            close_if_lost(self.dialect.connection, exc)
            return self._failed(run, exc) if isinstance(run, Run) else _not_claimed(exc)
        return Completed(run.claim)

    @abstractmethod
    def claim(self, operation: Operation) -> Run | Outcome | Again:
        """Insert the record as one whose view has started, or judge the one that is there."""

    @abstractmethod
    def work(self, run: Run, work: Work) -> None:
        """Do the work and write its answer."""

    @abstractmethod
    def undone(self, run: Run, exc: BaseException) -> None:
        """Clean up after a run whose transaction, or our part of it, is undone."""

    def _failed(self, run: Run, exc: BaseException) -> Outcome:
        if run.completed and not self.dialect.connection.in_atomic_block:
            return self._failed_to_commit(run, exc)
        self.undone(run, exc)
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


def _not_claimed(exc: BaseException) -> Outcome | Again:
    meaning = translated(exc)
    if not isinstance(meaning, Held | Unclear):
        reraise(exc)
    return Refused(InFlight()) if isinstance(meaning, Held) else Again.UNCLEAR


class JoinedPostgreSQL(Joined[PostgreSQL]):
    def claim(self, operation: Operation) -> Run | Outcome | Again:
        found = self.dialect.claim(self.dialect.claim_joined, operation, token=1)
        if not isinstance(found, StoredRecord):
            return found
        verdict = judged(self.dialect, operation, found)
        return self._take_over(verdict) if isinstance(verdict, Claim) else verdict

    def _take_over(self, claim: Claim) -> Run:
        """Run what the dead owner of a committed claim has left."""
        transaction_id = self.dialect.lock_once(claim)
        if transaction_id is None:
            raise Held
        return Run(claim, transaction_id)

    def work(self, run: Run, work: Work) -> None:
        complete(self.dialect, run, perform(self.dialect, run, work))

    def undone(self, run: Run, exc: BaseException) -> None:
        with suppress(Held, Unclear, StoreUnavailable):
            if isinstance(exc, BoundaryBroken):
                self._doubt(run.claim)
            # What a committed claim has left is still there; inside the caller's transaction it stays so.
            elif run.claim.seen and not self.dialect.connection.in_atomic_block:
                self.dialect.change(self.dialect.release, claimed_values(run.claim))

    def _doubt(self, claim: Claim) -> None:
        """Leave a record of the doubt, over a connection of its own: the caller's transaction is broken."""
        connection = self.dialect.connection.copy()
        try:
            with own_statement(), connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
                for statement in (self.dialect.insert, self.dialect.doubt):
                    statement.execute(cursor, claim_values(claim.operation, claim.number, token=1))
        finally:
            connection.close()


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
        return {**claim_values(claim.operation, claim.number, token=1), **self.dialect.times(claim.operation)}

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

    def work(self, run: Run, work: Work) -> None:
        snapshot = perform(self.dialect, run, work)
        if not self.dialect.same_transaction(run.transaction):
            raise BoundaryBroken
        complete(self.dialect, run, snapshot)

    def undone(self, run: Run, exc: BaseException) -> None:
        if not isinstance(exc, BoundaryBroken):
            return
        # What the view wrote after its own ROLLBACK is committed, and its record is not: say so, past Django, which
        # refuses all statements in a transaction that is marked for rollback.
        connection, values = self.dialect.connection, self._values(run.claim)
        for statement in (self.dialect.insert, self.dialect.doubt):
            connection.create_cursor().execute(statement.sql, statement.parameters(values, connection))
