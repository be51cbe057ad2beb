"""One attempt at a durable operation: from its claim to its answer, or to whatever comes instead."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404

from .. import incidents
from ..core.engine import Again, Claim, Completed, Operation, Outcome, Refused, Replay, Snapshot, Work, judge
from ..core.journal import Changed
from ..core.policies import Policy
from ..encryption import KeyLost, opened
from ..exceptions import IdempotencyError, InFlight, OutcomeUnknown, RetryLater, StoreUnavailable, TransactionBroken
from .answers import Respond, snapshot
from .definitions import find
from .steps import Steps, Unsettled
from .store import Lost, Operations, Progress

logger = logging.getLogger("django_idempotency")

ORDINARY = (PermissionDenied, Http404, BadRequest, SuspiciousOperation)
SHORTEST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
LONGEST_WAIT = timedelta(days=30)
"""Of what a function asks for with RetryLater."""


@dataclass(frozen=True, slots=True)
class Ran(Completed):
    """The function ran to its end, and this is its answer."""

    snapshot: Snapshot


def pause_after(resumes: int) -> timedelta:
    """How long to leave an operation alone that upkeep has taken up so often: twice as long each time, and a random part."""
    longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(resumes, 20))
    return timedelta(seconds=longest.total_seconds() * random.uniform(0.5, 1))  # noqa: S311 - no secret


def missing(op: Any, **given: Any) -> Any:
    """What is run for an operation that this release does not have."""
    raise LookupError("This release has no such operation. Keep its name, or set the new one's `name` to it.")


def _is_ordinary(exc: Exception) -> bool:
    status = getattr(exc, "status_code", None)
    return isinstance(exc, ORDINARY) or (isinstance(status, int) and status < 500)


class Runner:
    """Runs an operation's function for a claim. What the engine needs of a store, and upkeep of an operation."""

    def __init__(self, store: Operations, policy: Policy, function: Callable[..., Any]) -> None:
        self.store = store
        self.policy = policy
        self.function = function

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again:
        verdict = self.store.leases.claim(operation)
        if not isinstance(verdict, Claim):
            return verdict
        work(verdict)
        if verdict.seen is None and operation.durable:
            return self.go_on(verdict, Progress(durable=operation.durable))
        return self.take_up(verdict)

    def take_up(self, claim: Claim) -> Outcome:
        """Go on with an operation that was claimed before."""
        try:
            progress = self.store.load(claim)
        except KeyLost:
            logger.error("The journal of %s cannot be read: its key is not in ENCRYPTION_KEYS.", claim.operation.id)  # noqa: TRY400
            self._postpone(claim, LONGEST_PAUSE)
            return Refused(RetryLater(LONGEST_PAUSE.total_seconds()))
        name = progress.durable.name
        if not name:
            return self._parked(claim, "begun by a coroutine view, before it was an operation, and never ended")
        # Not what the view calls today: another function might ask another gateway, and charge there, too.
        found = find(name)
        self.function = found.function if found else missing
        return self.go_on(claim, progress)

    def give_up(self, claim: Claim, resumes: int) -> Outcome:
        """Leave an operation to a person that does not come to its end."""
        return self._parked(claim, f"taken up {resumes} times and never finished")

    def go_on(self, claim: Claim, progress: Progress) -> Outcome:
        """Run the function from its start; what the journal has is not done again."""
        op = Steps(self.store, claim, progress)
        try:
            return self._run(op, claim, progress)
        except Lost:
            return self._overtaken(claim)
        except (Changed, Unsettled) as exc:
            return self._parked(claim, str(exc))
        except (RetryLater, OutcomeUnknown, StoreUnavailable) as exc:
            return self._put_off(claim, progress, exc)
        except TransactionBroken as exc:
            if not exc.outcome_known:
                self._parked(claim, "a phase ended its transaction itself")
            raise
        except Exception as exc:
            answer = self._failed(op, claim, progress, exc)
            if answer is None:
                raise
            return answer

    def _put_off(self, claim: Claim, progress: Progress, exc: IdempotencyError) -> Outcome:
        if isinstance(exc, RetryLater):
            self._postpone(claim, min(LONGEST_WAIT, timedelta(seconds=exc.seconds)), meant=True)
            return Refused(exc)
        logger.warning("Operation %s goes on later: %s", claim.operation.id, type(exc).__name__)
        pause = pause_after(progress.resumes)
        self._postpone(claim, pause)
        return Refused(RetryLater(pause.total_seconds()))

    def _failed(self, op: Steps, claim: Claim, progress: Progress, exc: Exception) -> Outcome | None:
        """What to answer; None where the exception is the answer."""
        ordinary, pause = _is_ordinary(exc), pause_after(progress.resumes)
        claim.ending.error = type(exc).__name__
        claim.ending.expected = ordinary and not op.begun
        # The client is told, say, that there is no such account: then nothing is done behind its back.
        self._postpone(claim, None if claim.ending.expected else pause, incidents.failure(claim))
        if not ordinary or not op.begun:
            return None
        # Not what it says: it would be taken for the end, and what was begun goes on.
        logger.error("Operation %s goes on later.", claim.operation.id, exc_info=exc)
        return Refused(RetryLater(pause.total_seconds()))

    def _run(self, op: Steps, claim: Claim, progress: Progress) -> Outcome:
        # No variable has the keys: error reports show those of every frame.
        given = self._given(progress)
        with op.heart.beating():
            answer = self._called(op, given)
        kept = snapshot(answer, self.policy)
        if self.store.complete(claim, kept, op.end()):
            return Ran(claim, kept)
        return self._overtaken(claim)

    def _given(self, progress: Progress) -> dict[str, Any]:
        try:
            text = opened(progress.durable.input, progress.durable.key_id, self.policy.encryption_keys)
        except KeyLost:
            text = None
        if text is None:
            raise StoreUnavailable
        given: dict[str, Any] = json.loads(text)
        return given

    def _called(self, op: Steps, given: dict[str, Any]) -> Respond:
        try:
            answer = self.function(op, **given)
        except Exception:
            # What has ended the operation counts, even where the function has caught it. Not so of what ends the process.
            op.refuse_ended()
            raise
        op.refuse_ended()
        if isinstance(answer, RetryLater):
            raise answer
        if not isinstance(answer, Respond):
            raise TypeError(
                f"{self.function.__qualname__} must return Respond or RetryLater, not {type(answer).__name__}."
            )
        return answer

    def _overtaken(self, claim: Claim) -> Outcome:
        """What the record says to one whose claim is lost. Its own answer is discarded."""
        record = self.store.leases.read(claim.operation)
        verdict = judge(claim.operation, record) if record else None
        return verdict if isinstance(verdict, Replay | Refused) else Refused(InFlight())

    def _parked(self, claim: Claim, why: str) -> Outcome:
        if not self.store.park(claim, why):
            return self._overtaken(claim)
        logger.error("Operation %s waits for a person: %s.", claim.operation.id, why)
        return Refused(OutcomeUnknown(operation=claim.operation.id))

    def _postpone(
        self,
        claim: Claim,
        pause: timedelta | None,
        incident: incidents.Incident | None = None,
        *,
        meant: bool = False,
    ) -> None:
        try:
            self.store.postpone(claim, pause, incident, meant=meant)
        except StoreUnavailable:
            # Its lease runs out, and then upkeep finds it all the same.
            logger.warning("Operation %s could not be put off: the store is unavailable.", claim.operation.id)
