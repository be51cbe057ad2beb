"""
The committed claim: everybody sees `processing` before the view starts, and the row lock tells life from death.

    claim      one statement, committed on its own
    BEGIN
    lock       UPDATE ... SET token: the row lock is held until the end, and freed by the database when the owner dies
    the view
    complete   UPDATE ... WHERE the claim is ours: the last statement
    COMMIT

docs/explanation/protocol.md tells what is true if the process dies after each of them.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from django.db import transaction

from ... import incidents
from ...core.engine import Again, Claim, Completed, Operation, Outcome, Refused, Released, Replay, StoredRecord, Work
from ...core.states import State
from ...exceptions import InFlight, StoreUnavailable, TransactionBroken
from .dialects import claimed_values
from .errors import Held, Unclear, own_statement, reraise
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
from .statements import Statement

logger = logging.getLogger("django_idempotency")

PATIENCE = 1.0
"""Seconds for which the owner of a new claim waits for a duplicate that is just probing its lock."""


class Committed:
    def __init__(self, dialect: PostgreSQL | MySQL) -> None:
        self.dialect = dialect

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        try:
            found = self.claim(operation)
            return self._run(found, work) if isinstance(found, Run) else found
        except Held:
            return Refused(InFlight())
        except Unclear:
            return Again.UNCLEAR

    def claim(self, operation: Operation) -> Run | Replay | Refused | Again:
        """Insert the record, or judge the one that is there."""
        found = self.dialect.claim(self.dialect.claim_committed, operation)
        if isinstance(found, Run):
            return Run(found.claim, cursor=found.cursor)
        if not isinstance(found, StoredRecord):
            return found
        verdict = judged(self.dialect, operation, found)
        return Run(verdict) if isinstance(verdict, Claim) else verdict

    def _run(self, run: Run, work: Work) -> Outcome:
        try:
            with transaction.atomic(using=self.dialect.alias):
                self._lock(run)
                carry_out(self.dialect, run, work)
        except BaseException as exc:  # noqa: BLE001 - a worker told to exit must undo its run, too
            close_if_lost(self.dialect.connection, exc)
            if run.transaction is None:
                reraise(exc)
            return self._failed(run, exc)
        return Completed(run.claim)

    def _lock(self, run: Run) -> None:
        """Take up the claim. The owner waits for its own lock, because probers would starve it; a duplicate does not."""
        deadline = time.monotonic() + PATIENCE
        while (transaction_id := self.dialect.lock_once(run.claim, run.cursor)) is None:
            if run.claim.seen:
                raise Held
            if not self._still_ours(run.claim):
                # The claim is somebody else's now: read afresh. This never means that the key is free.
                raise Unclear
            if time.monotonic() >= deadline:
                raise Held
            time.sleep(0.005)
        run.transaction = transaction_id

    def _still_ours(self, claim: Claim) -> bool:
        record = self.dialect.stored(claim.operation)
        if record is None or record.claim != claim.number:
            return False
        return record.state is State.PROCESSING and record.token == 0

    def _failed(self, run: Run, exc: BaseException) -> Outcome:
        """The transaction is over, and something other than success has ended it."""
        if run.completed:
            return self._failed_to_commit(run, exc)
        if isinstance(exc, BoundaryBroken):
            self._doubt(run, self.dialect.doubt)
            raise TransactionBroken(BoundaryBroken.__doc__, outcome_known=False) from exc
        self._release(run, exc)
        if isinstance(exc, NotKept):
            return Released(run.claim)
        if conflicted(exc):
            return Refused(InFlight(CONFLICT))
        raise exc

    def _failed_to_commit(self, run: Run, exc: BaseException) -> Outcome:
        """
        An exception out of COMMIT is not a failure: an on_commit hook may have raised it after the commit, or only the
        database's answer was lost. Ask the database, on a fresh connection.
        """
        try:
            if self._released(run, exc):
                return after_commit_failure(exc)
            return settled(self.dialect, run, exc)
        except (Held, Unclear):
            return Refused(InFlight())

    def _released(self, run: Run, exc: BaseException) -> bool:
        """Delete the claim; the staff learns of a failure in the same transaction."""
        with own_statement():
            return incidents.together(
                self.dialect.alias,
                failure_of(run, exc),
                lambda: self.dialect.change(self.dialect.release, claimed_values(run.claim)),
            )

    def _release(self, run: Run, exc: BaseException) -> None:
        try:
            if not self._released(run, exc):
                self._doubt(run, self.dialect.doubt_started)
        except (Held, Unclear, StoreUnavailable):
            # Whoever holds the lock settles it; else the next duplicate takes the claim over.
            logger.warning("The claim on %s could not be released.", run.claim.operation.id, exc_info=True)

    def _doubt(self, run: Run, statement: Statement) -> None:
        # Where this fails, the raised token of a published record still tells that its view had started.
        with suppress(Held, Unclear, StoreUnavailable):
            with own_statement():
                doubtful = incidents.together(
                    self.dialect.alias,
                    incidents.unknown(run.claim.operation),
                    lambda: self.dialect.change(statement, claimed_values(run.claim)),
                )
            if doubtful:
                logger.error("The view of %s broke its transaction: outcome unknown.", run.claim.operation.id)
