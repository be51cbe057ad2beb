"""A coroutine view on its way through the engine. Its claim has a lease: no transaction can undo what it does."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http.response import HttpResponseBase

from . import on_behalf, signals
from .core import engine, leases
from .core.engine import Claim, Completed, Idempotency, Operation, Outcome, Refused, Released, Replay, Snapshot
from .exceptions import IdempotencyError, Kept, OutcomeUnknown, StoreUnavailable
from .hops import hop, stopped, to_the_end
from .http import SAFE_METHODS
from .services import Service, is_ordinary

logger = logging.getLogger("django_idempotency")


@dataclass(frozen=True, slots=True)
class CoroutineIdempotency(Idempotency):
    """What a coroutine view finds as `request.idempotency`."""

    service: CoroutineService = field(repr=False)

    async def commit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """
        Call a synchronous function in one transaction with its answer, and return the response that it returns.

        The response is frozen and committed together with what the function has written: both are there in the end, or
        neither. Return it from the view. Where it is not to be kept (a 503, say), or the function raises, what it wrote
        is rolled back. Raises OutcomeUnknown where the claim was lost meanwhile: let it through.
        """
        if iscoroutinefunction(function):
            raise TypeError(f"commit() takes a synchronous function, not the coroutine function {function!r}.")
        return await self.service.commit(functools.partial(function, *args, **kwargs))


class CoroutineService(Service):
    """One request of a coroutine view."""

    claim: Claim | None = None
    committing = False
    """Whether commit() has been called, and has not failed."""
    committed = False
    lost: Outcome | None = None
    """What the record says where our writes to it no longer hit."""

    async def serve(self, call: Callable[[], Any]) -> Any:
        if self.exchange.http.method in SAFE_METHODS:
            return await self._unprotected_view(call)
        try:
            answer = await self._begin()
        except (Exception, asyncio.CancelledError) as error:
            await to_the_end(hop(self._not_started, error))
            raise
        if self.claim:
            return await self._run_view(self.claim, call)
        return await self._unprotected_view(call) if answer is None else answer.response

    async def _unprotected_view(self, call: Callable[[], Any]) -> Any:
        with self._inside(None):
            try:
                return await call()
            except Kept as kept:
                return kept.response

    async def _begin(self) -> _Answer | None:
        """The answer to a request that is not to run; None where it is, under a claim or without a key."""
        begun, pause = time.monotonic(), 0.02
        found = await to_the_end(hop(self._admit))
        while isinstance(found, Refused):
            last = time.monotonic() + pause > begun + self.exchange.wait()
            if not last:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.25)
            found = await to_the_end(hop(self._claim, last=last))
        return found

    def _admit(self) -> _Answer | Refused | None:
        exchange = self.exchange
        try:
            key = exchange.key()
            if key is None:
                self._without_key(lambda: None)
                return None
            policy = exchange.policy
            patient = exchange.wait() > 0
            operation = exchange.operation(key, lease=policy.lease, rerun=policy.rerun, patient=patient)
        except IdempotencyError as error:
            return _Answer(self._refuse(error, None))
        exchange.refuse_nested(operation)
        on_behalf.refuse_changed(exchange.http, operation, policy)
        exchange.authorize()
        self.operation = operation
        return self._claim(last=not exchange.wait())

    def _claim(self, *, last: bool) -> _Answer | Refused | None:
        """Claim; Refused where the first request still runs and this is not the last try."""
        self.leases: leases.LeaseStore = self.backend.leases()
        verdict = leases.claim(self.leases, self.operation)
        if isinstance(verdict, Claim):
            self.claim = verdict
            with self._inside(self.operation, verdict.attempt):
                self._send(signals.claimed, operation=self.operation, attempt=verdict.attempt)
            return None
        if isinstance(verdict, Refused) and engine.in_flight(verdict) and not last:
            return verdict
        return _Answer(self._answer(self.operation, verdict))

    @contextmanager
    def _inside(self, operation: Operation | None, attempt: int = 1) -> Iterator[None]:
        with self.exchange.inside(operation, attempt):
            http: Any = self.exchange.http
            plain = http.idempotency
            own = (plain.key, plain.id, plain.attempt, plain.seed, self)
            http.idempotency = CoroutineIdempotency(*own, replayed_by=plain.replayed_by)
            yield

    async def _run_view(self, claim: Claim, call: Callable[[], Any]) -> Any:
        extender = asyncio.create_task(self._keep_extending(claim))
        kept = False
        try:
            with self._inside(claim.operation, claim.attempt):
                response = await call()
        except Kept as answer:
            response, kept = answer.response, True
        except (Exception, asyncio.CancelledError) as error:
            if await to_the_end(self._failed(claim, error, extender)):
                return self.response
            raise
        except BaseException:
            extender.cancel()
            raise
        return await to_the_end(self._ended(claim, extender, response, kept=kept))

    async def _keep_extending(self, claim: Claim) -> None:
        every = self.exchange.policy.lease.total_seconds() / 3
        held = True
        while held:
            await asyncio.sleep(every)
            held = await hop(self._extend, claim)

    def _extend(self, claim: Claim) -> bool:
        if self.committed:
            return False
        try:
            held = self.leases.extend(claim)
        except Exception:  # whatever it is: without the next extension the claim is lost
            logger.warning("The lease of %s could not be extended.", claim.operation.id, exc_info=True)
            return True
        if not held:
            logger.error("The lease of %s was lost while its view was running.", claim.operation.id)
        return held

    async def _ended(self, claim: Claim, extender: asyncio.Task[None], response: Any, *, kept: bool) -> Any:
        await stopped(extender)
        return await hop(self._finish, claim, response, kept=kept)

    def _finish(self, claim: Claim, response: Any, *, kept: bool) -> Any:
        if self.committed:
            if response is not self.response:
                logger.error("The view of %s did not return what it committed, which stands.", claim.operation.id)
            return self._answer(claim.operation, Completed(claim))
        if self.lost:
            return self._answer(claim.operation, self.lost)
        try:
            snapshot = self._freeze(response, kept=kept)
        except Exception as error:
            self._give_up(claim, error)
            raise
        return self._answer(claim.operation, leases.settle_patiently(self.leases, claim, snapshot))

    def _freeze(self, response: Any, *, kept: bool) -> Snapshot | None:
        self.response = self.exchange.finish(response)
        if kept or self.exchange.keeps(self.response):
            return self.exchange.freeze(self.response)
        if self.claim:
            self.claim.ending.status = self.response.status_code
        return None

    async def _failed(self, claim: Claim, error: BaseException, extender: asyncio.Task[None]) -> bool:
        """Settle the claim of a view that raised; whether there is an answer all the same."""
        await stopped(extender)
        return await hop(self._settle_failure, claim, error)

    def _settle_failure(self, claim: Claim, error: BaseException) -> bool:
        outcome = self.lost
        if self.committed:
            if isinstance(error, Exception):
                logger.error(
                    "The view of %s failed after its commit, which stands.", claim.operation.id, exc_info=error
                )
            outcome = Completed(claim)
        elif outcome is None:
            self._give_up(claim, error)
            if isinstance(error, StoreUnavailable):
                # What commit() could not learn of its COMMIT is known by now, perhaps.
                outcome = self.lost or leases.unsettled(claim, error)
        if outcome:
            self.response = self._answer(claim.operation, outcome)
        return outcome is not None and isinstance(error, Exception)

    def _give_up(self, claim: Claim, error: BaseException, *, started: bool = True) -> None:
        """Leave the record to a person, or free the key where the view does no harm by running again; see if it is ours."""
        if started and isinstance(error, Exception):
            claim.ending.error = type(error).__name__
            claim.ending.expected = is_ordinary(error, self.exchange)
        try:
            if started and not claim.operation.rerun:
                held = self.leases.doubt(claim)
            elif held := self.leases.release(claim):
                self._send(signals.released, operation=claim.operation, response=None, error=error)
            if not held:
                self.lost = leases.overtaken(self.leases, claim, None)
        except StoreUnavailable:
            # Its lease runs out and says the same.
            logger.warning("The claim on %s could not be settled.", claim.operation.id, exc_info=True)

    def _not_started(self, error: BaseException) -> None:
        """Free the key. In the thread, because a claim may still have been on its way there when this was cancelled."""
        if self.claim:
            self._give_up(self.claim, error, started=False)

    async def commit(self, call: Callable[[], Any]) -> Any:
        if self.committing:
            raise ImproperlyConfigured("commit() commits the one answer of a request: it cannot be called again.")
        self.committing = True
        try:
            return await to_the_end(hop(self._commit, call))
        finally:
            self.committing = self.committed

    def _commit(self, call: Callable[[], Any]) -> Any:
        if self.claim is None:
            alias = getattr(self.backend, "alias", None)
            with transaction.atomic(using=alias):
                if self._commits(call) is None:
                    transaction.set_rollback(True, using=alias)
        else:
            self._commit_claimed(self.claim, call)
        return self.response

    def _commits(self, call: Callable[[], Any]) -> Snapshot | None:
        """What a function in commit() answers, frozen; None where that undoes what it wrote."""
        try:
            return self._freeze(_response_of(call()), kept=False)
        except Kept as answer:
            return self._freeze(_response_of(answer.response), kept=True)

    def _commit_claimed(self, claim: Claim, call: Callable[[], Any]) -> None:
        match self.leases.commit(claim, lambda _: self._commits(call)):
            case Completed():
                self.committed = True
            case Replay() | Refused() as lost:
                self.lost = lost
                raise OutcomeUnknown(operation=claim.operation.id)
            case Released():
                pass


@dataclass(frozen=True, slots=True)
class _Answer:
    response: Any


def _response_of(returned: Any) -> HttpResponseBase:
    if not isinstance(returned, HttpResponseBase):
        raise TypeError(f"commit() takes a function that returns the response, not {type(returned).__name__}.")
    return returned
