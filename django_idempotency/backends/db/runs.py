"""One run of a view inside its transaction: what both protocols do from the claim to the completing update."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import InternalError, transaction

from ... import incidents, journals
from ...core.engine import (
    Again,
    Claim,
    Completed,
    Operation,
    Refused,
    Replay,
    Snapshot,
    StoredRecord,
    Verdict,
    Work,
    judge,
)
from ...exceptions import InFlight, StoreUnavailable, TransactionBroken
from ...incidents import Incident
from .dialects import Dialect, snapshot_values
from .errors import Held, Unclear, is_conflict, is_lost, own_statement, translated

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

logger = logging.getLogger("django_idempotency")

# The claims that this process is working on: one of them found in the database is in flight, not abandoned, even where
# a view calls itself with its own key inside its own transaction and so finds its own lock open.
RUNNING: set[int] = set()


class NotKept(Exception):
    """Rolls back a run whose answer is not to be kept."""


class BoundaryBroken(Exception):
    """The view ended its transaction itself (a raw COMMIT or ROLLBACK): nobody knows what of its work is committed."""


@dataclass(slots=True)
class Run:
    """How far one run has come."""

    claim: Claim
    transaction: str | None = None
    """The transaction's id where the database has one."""
    completed: Snapshot | None = None
    """The answer, once the completing update was made; it may be committed or not."""
    cursor: CursorWrapper | None = None
    """The claim's own, for what follows on it: to open others takes 3 % of a request."""


def perform(dialect: Dialect, run: Run, work: Work) -> Snapshot:
    """The work's answer; NotKept where it is not to be kept, BoundaryBroken where its transaction is no longer ours."""
    try:
        RUNNING.add(run.claim.number)
        try:
            snapshot = work(run.claim)
        finally:
            RUNNING.discard(run.claim.number)
        if snapshot is None:
            raise NotKept
    except BaseException as exc:
        if isinstance(exc, RuntimeError) and "durable atomic block" in str(exc):
            exc.add_note("An idempotent view runs inside a transaction: use atomic() without durable=True in it.")
        if not dialect.undid(exc) and not dialect.same_transaction(run.transaction):
            raise BoundaryBroken from exc
        raise
    return snapshot


def carry_out(dialect: Dialect, run: Run, work: Work) -> None:
    """Do the work and write its answer, in what is still the transaction that the work began in."""
    snapshot = perform(dialect, run, work)
    if not dialect.intact(run.transaction):
        raise BoundaryBroken
    complete(dialect, run, snapshot)


def judged(dialect: Dialect, operation: Operation, record: StoredRecord) -> Verdict:
    """The engine's verdict on what is there; what has outlived its tombstone is deleted first."""
    verdict = judge(operation, record, running_here=record.claim in RUNNING)
    if verdict is Again.FORGOTTEN:
        _forget(dialect, operation)
    return verdict


def _forget(dialect: Dialect, operation: Operation) -> None:
    """Delete the record, and a journal with it: what is claimed next under this id must not find another's steps."""
    with own_statement(), transaction.atomic(using=dialect.alias):
        if dialect.change(dialect.forget, {"id": operation.id, **dialect.times(operation)}):
            journals.delete(dialect.alias, [operation.id])


def complete(dialect: Dialect, run: Run, snapshot: Snapshot) -> None:
    """Write the answer: the last statement of the transaction, which must hit our one row."""
    connection = dialect.connection
    if connection.needs_rollback:
        raise TransactionBroken(_why_broken(connection))
    values = {
        **snapshot_values(run.claim, snapshot),
        **dialect.times(run.claim.operation),
        "transaction": run.transaction,
    }
    try:
        hit = dialect.change(dialect.complete, values, run.cursor)
    except InternalError as exc:
        # PostgreSQL ignores all commands once one has failed.
        raise TransactionBroken from exc
    if not hit:
        raise BoundaryBroken
    run.completed = snapshot


def _why_broken(connection: BaseDatabaseWrapper) -> str | None:
    if connection.closed_in_transaction:
        return "The view closed the database connection in the middle of its transaction, so nothing of it was kept."
    return None


def close_if_lost(connection: BaseDatabaseWrapper, exc: BaseException) -> None:
    """Let the next question go over a fresh connection if this one may be broken."""
    if is_lost(exc) and not connection.in_atomic_block:
        connection.close()


def after_commit_failure(exc: BaseException) -> Refused:
    """
    What to answer when COMMIT failed and the database has rolled back.

    A conflict or a lost connection is worth another try. Anything else, such as a deferred constraint, is the
    view's own failure and is raised.
    """
    meaning = translated(exc)
    if conflicted(meaning):
        return Refused(InFlight(CONFLICT))
    if isinstance(meaning, StoreUnavailable):
        raise meaning from exc
    raise exc


def settled(dialect: Dialect, run: Run, exc: BaseException) -> Completed | Replay | Refused:
    """What became of a run whose COMMIT raised, when it was not simply undone: the database says."""
    operation = run.claim.operation
    record = dialect.stored(operation)
    if record is None:
        return Refused(InFlight())
    if record.claim != run.claim.number or record.snapshot != run.completed:
        # Ours was undone, and somebody else has run the key since, perhaps with another request.
        verdict = judge(operation, record)
        return verdict if isinstance(verdict, Replay | Refused) else Refused(InFlight())
    if not isinstance(exc, Exception):
        raise exc
    logger.error("An error followed the commit of %s; its answer stands.", operation.id, exc_info=exc)
    return Completed(run.claim)


def failure_of(run: Run, exc: BaseException) -> Incident | None:
    """What to tell the staff of a run that ended with this; None where another transaction was only in its way."""
    if not isinstance(exc, NotKept):
        run.claim.ending.error = type(exc).__name__
    return None if conflicted(exc) else incidents.failure(run.claim)


def conflicted(exc: BaseException) -> bool:
    """Whether the database undid a run because of another transaction: trying again is all there is to do."""
    return isinstance(exc, Unclear | Held) or is_conflict(exc)


CONFLICT = "Another request got in the way of this one, and nothing of it was kept. Send the same request again."
