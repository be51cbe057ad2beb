"""
The leased claim: of work whose effects no transaction can undo, such as that of a coroutine view.

    claim      INSERT, committed on its own, with the time until which it is exclusive
    extend     UPDATE, again and again while the work runs
    complete   UPDATE ... WHERE claim, token and state are as we left them

No row lock is held meanwhile, so it is the clock that decides, the database's. docs/howto/async-views.md tells what is true
if the process dies after each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from ... import incidents
from ...core.engine import (
    GUARD,
    Again,
    Claim,
    Completed,
    Operation,
    Outcome,
    Refused,
    Released,
    Snapshot,
    StoredRecord,
    Verdict,
    Work,
    claim_number,
)
from ...core.leases import overtaken
from ...core.states import State
from ...exceptions import InFlight, StoreUnavailable, TransactionBroken
from . import statements
from .dialects import Records, snapshot_values
from .errors import Held, Unclear, own_statement, reraise
from .lease_statements import LeaseStatements
from .mysql import WAIT, MySQL, bounded, clock
from .postgresql import Durable, PostgreSQL
from .runs import BoundaryBroken, NotKept, Run, carry_out, close_if_lost, judged, settled
from .statements import Slot, Statement, Values

logger = logging.getLogger("django_idempotency")

OUTER = (
    "A coroutine view was called inside a database transaction, such as a middleware's: rolled back, it would take the "
    "claim with it, and what the view has done would be done again. End the transaction before the view, and leave "
    "autocommit on."
)
OPEN = (
    "A coroutine view has a database transaction open: rolled back, it would take the answer with it that the client is "
    "given now. Call commit() outside of transactions, and end those that the view begins."
)


class Leases(LeaseStatements):
    def claim(self, operation: Operation) -> Verdict:
        if self.replays is None:
            return self._claim(operation)
        return self.replays.through(operation, self, partial(self._claim, operation))

    def _claim(self, operation: Operation) -> Verdict:
        self._refuse_outer(OUTER)
        try:
            found = self.insert_or_read(operation)
            return self._judged(operation, found) if isinstance(found, StoredRecord) else found
        except Held:
            return Refused(InFlight())
        except Unclear:
            return Again.UNCLEAR

    def extend(self, claim: Claim) -> bool:
        return self._change(self.extending, claim, {})

    def complete(self, claim: Claim, snapshot: Snapshot) -> bool:
        self._refuse_outer(OPEN)
        return self.complete_here(claim, snapshot)

    def complete_here(self, claim: Claim, snapshot: Snapshot) -> bool:
        """Keep the answer in a transaction that the caller has begun, for what has to commit with it."""
        return self._change(self.completing, claim, snapshot_values(claim, snapshot))

    def release(self, claim: Claim) -> bool:
        released = self._end(self.releasing, claim, incidents.failure(claim))
        if released and self.replays:
            self.replays.leave(claim.operation, self.alias)
        return released

    def doubt(self, claim: Claim) -> bool:
        doubted = self._end(self.doubting, claim, incidents.unknown(claim.operation))
        if doubted:
            logger.error("The view of %s did not end as it should: outcome unknown.", claim.operation.id)
        return doubted

    def read(self, operation: Operation) -> StoredRecord | None:
        try:
            return self.dialect.stored(operation)
        except (Held, Unclear) as exc:
            raise StoreUnavailable from exc

    def commit(self, claim: Claim, work: Work) -> Outcome:
        self._refuse_outer(OPEN)
        run = Run(claim)
        try:
            return self._commit(run, work)
        except StoreUnavailable:
            if run.transaction is not None:
                raise
        # The connection was lost while the view was waiting. Nothing has begun: once more, over a fresh one.
        return self._commit(run, work)

    def _commit(self, run: Run, work: Work) -> Outcome:
        claim = run.claim
        try:
            with transaction.atomic(using=self.dialect.alias):
                if not self._change(self.extending, claim, {}):
                    return overtaken(self, claim, None)
                run.transaction = self.mark()
                carry_out(self.dialect, run, work)
        except BaseException as exc:  # noqa: BLE001 - a worker told to exit must undo its run, too
            close_if_lost(self.connection, exc)
            if run.transaction is None:
                reraise(exc)
            return self._failed(run, exc)
        return Completed(claim)

    def mark(self) -> str | None:
        """What tells in the end whether we are still in the transaction that we began: a savepoint."""
        return self.connection.savepoint()

    def insert_or_read(self, operation: Operation) -> Claim | StoredRecord | Refused | Again:
        record = self.dialect.stored(operation)
        if record is not None:
            return record
        claim = Claim(operation=operation, number=claim_number())
        inserting = self.inserting_durable if operation.durable else self.inserting
        inserted = self.dialect.change(inserting, self.values(claim))
        return claim if inserted else Again.UNCLEAR

    def _refuse_outer(self, fault: str) -> None:
        """Raises ImproperlyConfigured where what we write could be rolled back later."""
        if not self.connection.in_atomic_block:
            with own_statement():
                if self.connection.get_autocommit():
                    return
            raise ImproperlyConfigured(fault)
        try:
            # Django knows whether the transaction is only a test's.
            with transaction.atomic(using=self.dialect.alias, durable=True):
                pass
        except RuntimeError as exc:
            raise ImproperlyConfigured(fault) from exc

    def _judged(self, operation: Operation, record: StoredRecord) -> Verdict:
        verdict = judged(self.dialect, operation, record)
        if isinstance(verdict, Claim):
            return self._take_over(verdict, record)
        lapsed = record.state is State.PROCESSING and record.lease_until and record.lease_until <= record.now
        if isinstance(verdict, Refused) and lapsed and verdict.error.code == "outcome-unknown":
            return verdict if self._lapse(operation, record) else Again.UNCLEAR
        return verdict

    def _take_over(self, claim: Claim, record: StoredRecord) -> Verdict:
        """Run what a dead owner has left: all that was read before is asked again, under the record's lock."""
        now = self.now()
        abandoned = Q(lease_until=None, token=0, claimed_at__lte=now - GUARD) | Q(lease_until__lte=now)
        failed = Q(state=State.UNKNOWN.value, lease_until__isnull=False)
        due = self._as_seen(claim.operation, record).filter(abandoned | failed, fingerprint=record.fingerprint)
        changes = {"state": State.PROCESSING.value, "token": claim.attempt, "lease_until": now + claim.operation.lease}
        # From now on upkeep has to see to it, whatever was to be before.
        changes["resume_at"] = None
        return claim if self._change_if_free(due, changes) else Again.UNCLEAR

    def _lapse(self, operation: Operation, record: StoredRecord) -> bool:
        """Write down that nobody knows, unless the owner is just now committing: then Held."""
        due = self._as_seen(operation, record).filter(lease_until__lte=self.now())
        change = {"state": State.UNKNOWN.value}
        lapsed = self._told(incidents.unknown(operation), lambda: self._change_if_free(due, change))
        if lapsed:
            logger.error("The lease of %s has run out while its view was running: outcome unknown.", operation.id)
        return lapsed

    def _end(self, statement: Statement, claim: Claim, incident: incidents.Incident | None) -> bool:
        try:
            return self._told(incident, lambda: self._change(statement, claim, {}))
        except (Held, Unclear) as exc:
            raise StoreUnavailable from exc

    def _told(self, incident: incidents.Incident | None, change: Callable[[], bool]) -> bool:
        """Change the record; the staff learns of it in the same transaction."""
        with own_statement():
            return incidents.together(self.dialect.alias, incident, change)

    def _as_seen(self, operation: Operation, record: StoredRecord) -> Records:
        seen = {"claim": record.claim, "token": record.token, "state": record.state.value}
        return self.dialect.records().filter(id=operation.id, **seen)

    def _change_if_free(self, due: Records, changes: Values) -> bool:
        with own_statement(), transaction.atomic(using=self.dialect.alias):
            # The primary key is read, so that a record that is held is refused and not waited for.
            held = list(due.select_for_update(nowait=True).values_list("pk", flat=True))
            return bool(held) and bool(due.update(**changes))

    def now(self) -> Any:
        """The database's time in a query that is compiled each time; this process's where the database has none."""
        return timezone.now() if isinstance(self.dialect.now, Slot) else self.dialect.now

    def _failed(self, run: Run, exc: BaseException) -> Outcome:
        if run.completed:
            return self._failed_to_commit(run, exc)
        if isinstance(exc, NotKept):
            return Released(run.claim)
        if isinstance(exc, BoundaryBroken):
            self._end(self.giving_up, run.claim, incidents.unknown(run.claim.operation))
            raise TransactionBroken(BoundaryBroken.__doc__, outcome_known=False) from exc
        raise _for_view(exc)

    def _failed_to_commit(self, run: Run, exc: BaseException) -> Outcome:
        """
        An exception out of COMMIT is not a failure. Writing to the record waits for whatever is still at work in the
        database, so what is read then is final.
        """
        if self.extend(run.claim):
            raise _for_view(exc)
        return settled(self.dialect, run, exc)

    def _change(self, statement: Statement, claim: Claim, values: Values) -> bool:
        try:
            return self.dialect.change(statement, {**self.values(claim), **values})
        except (Held, Unclear) as exc:
            raise StoreUnavailable from exc
        except StoreUnavailable as exc:
            close_if_lost(self.connection, exc)
            raise


class PostgreSQLLeases(Leases):
    dialect: PostgreSQL

    def insert_or_read(self, operation: Operation) -> Claim | StoredRecord | Refused | Again:
        claiming = self.dialect.claim_durable if operation.durable else self.dialect.claim_leased
        found = self.dialect.claim(claiming, operation)
        return found.claim if isinstance(found, Run) else found

    def mark(self) -> str | None:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text")
            return str(cursor.fetchone()[0])

    def ours(self) -> Records:
        return super().ours().filter(Q(Durable()))


class MySQLLeases(Leases):
    dialect: MySQL

    def insert_or_read(self, operation: Operation) -> Claim | StoredRecord | Refused | Again:
        inserting = self.inserting_durable if operation.durable else self.inserting
        found = self.dialect.claim(inserting, operation)
        return found.claim if isinstance(found, Run) else found

    def insertion(self, row: Values) -> Statement:
        # Never INSERT IGNORE, which turns every fault of the data into a warning.
        return bounded(self.connection, statements.insert(self.connection, row, on_conflict=None), WAIT)

    def now(self) -> Any:
        return clock(self.connection)


def _for_view(exc: BaseException) -> BaseException:
    """What the view can make something of: Django's exceptions, not ours."""
    return exc.__cause__ if isinstance(exc, Unclear | Held) and exc.__cause__ else exc
