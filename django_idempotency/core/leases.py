"""
Claims for work that no transaction can undo: a lease, extended while the work runs, says until when they are exclusive.

Nobody can tell what became of work whose lease has run out. So it is never run again, unless its author vouches that
running it twice does no harm.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from ..exceptions import InFlight, OutcomeUnknown, StoreUnavailable
from .engine import (
    ATTEMPTS,
    Again,
    Claim,
    Completed,
    Operation,
    Outcome,
    Refused,
    Released,
    Replay,
    Snapshot,
    StoredRecord,
    Verdict,
    Work,
    judge,
)

logger = logging.getLogger("django_idempotency")

# How long to wait before the store is asked again to keep an answer, in seconds. The work is done: it is worth waiting for.
PAUSES = (0.1, 1.0)


class LeaseStore(Protocol):
    """
    What a backend gives to work outside a transaction.

    Every write compares the claim, its token and the state, says whether it hit, and raises StoreUnavailable. A claim
    whose lease has run out is written down as `unknown` before anybody is told so.
    """

    def claim(self, operation: Operation) -> Verdict:
        """Claim a new operation for its lease, or judge what is there."""

    def extend(self, claim: Claim) -> bool:
        """Let the lease count from now."""

    def complete(self, claim: Claim, snapshot: Snapshot) -> bool:
        """Keep the answer."""

    def release(self, claim: Claim) -> bool:
        """Free the key."""

    def doubt(self, claim: Claim) -> bool:
        """Leave the record to a person."""

    def read(self, operation: Operation) -> StoredRecord | None:
        """What is stored now."""

    def commit(self, claim: Claim, work: Work) -> Outcome:
        """
        Do the work and keep its answer in one transaction.

        Released where the answer is not to be kept: the work is undone, and the claim is still there.
        """


def claim(store: LeaseStore, operation: Operation) -> Claim | Replay | Refused:
    """The right to run an operation, or what stands in the way."""
    for _ in range(ATTEMPTS):
        try:
            verdict = store.claim(operation)
        except StoreUnavailable as exc:
            return Refused(exc)
        if not isinstance(verdict, Again):
            return verdict
    # An empty result never means that the key is free: somebody else is at work on it.
    return Refused(InFlight())


def settle(store: LeaseStore, claim: Claim, snapshot: Snapshot | None) -> Outcome:
    """
    Keep an answer, or free the key where there is none to keep. Raises StoreUnavailable; ask again then.

    Whoever has lost the claim meanwhile changes nothing, and answers what the record says.
    """
    if snapshot is None:
        # An earlier try, or a person, may have deleted the record.
        free = store.release(claim) or store.read(claim.operation) is None
        return Released(claim) if free else overtaken(store, claim, None)
    return Completed(claim) if store.complete(claim, snapshot) else overtaken(store, claim, snapshot)


def settle_patiently(store: LeaseStore, claim: Claim, snapshot: Snapshot | None) -> Outcome:
    """The same where the store cannot be reached at once, either: it is asked three times, then the outcome is unknown."""
    for pause in (*PAUSES, None):
        try:
            return settle(store, claim, snapshot)
        except StoreUnavailable as error:
            logger.warning("The answer to %s could not be stored.", claim.operation.id, exc_info=True)
            outcome = unsettled(claim, error)
        if pause:
            time.sleep(pause)
    return outcome


def unsettled(claim: Claim, error: StoreUnavailable) -> Refused:
    """The answer where the store cannot be reached after the work: try again, if that does no harm."""
    return Refused(error if claim.operation.rerun else OutcomeUnknown(operation=claim.operation.id))


def overtaken(store: LeaseStore, claim: Claim, snapshot: Snapshot | None) -> Outcome:
    """What the record says to one whose write has hit nothing."""
    record = store.read(claim.operation)
    if record is None:
        return Refused(OutcomeUnknown(operation=claim.operation.id))
    if (record.claim, record.token) == (claim.number, claim.attempt) and snapshot and record.snapshot == snapshot:
        return Completed(claim)  # an earlier try, whose success was not heard of
    verdict = judge(claim.operation, record)
    return verdict if isinstance(verdict, Replay | Refused) else Refused(OutcomeUnknown(operation=claim.operation.id))
