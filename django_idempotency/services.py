"""One request on its way through the engine: what its view is called with, what its client is answered, who is told."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation

from . import doors, on_behalf, signals
from .core import engine
from .core.engine import Claim, Completed, Ending, Operation, Outcome, Refused, Released, Replay, Snapshot
from .exceptions import IdempotencyError, Kept, KeyExpired, KeyReused, StoreUnavailable
from .http import SAFE_METHODS, Exchange
from .rollups.counts import counts

logger = logging.getLogger("django_idempotency")

COROUTINE = (
    "An idempotent view that is no coroutine function returned a coroutine, which has not been run. Put idempotent on the "
    "coroutine itself, such as post(), or round as_view(); not on dispatch()."
)


class Service:
    """One request on its way through the engine."""

    def __init__(self, exchange: Exchange, backend: Any, sender: Any) -> None:
        self.exchange = exchange
        self.backend = backend
        self.sender = sender
        self.response: Any = None
        self.ending = Ending()
        self.arrived = time.perf_counter()

    def serve(self, call: Callable[[], Any]) -> Any:
        exchange = self.exchange
        if exchange.http.method in SAFE_METHODS:
            return self._unprotected(call)
        try:
            key = exchange.key()
            if key is None:
                return self._without_key(call)
            operation = exchange.operation(key, **self.backend.terms)
        except IdempotencyError as error:
            return self._refuse(error, None)
        exchange.refuse_nested(operation)
        on_behalf.refuse_changed(exchange.http, operation, exchange.policy)
        exchange.authorize()
        if on_behalf.is_dry(exchange.http):
            # Without a claim: a client's retry does not even notice. All is rolled back further out.
            return self._unprotected(call, operation)
        return self._answer(operation, self._run(operation, call))

    def _unprotected(self, call: Callable[[], Any], operation: Operation | None = None) -> Any:
        with self.exchange.inside(operation):
            try:
                return call()
            except Kept as kept:
                return kept.response

    def _without_key(self, call: Callable[[], Any]) -> Any:
        if self.exchange.policy.required:
            raise doors.missing(self.exchange.policy)
        self._send(signals.missing)
        return self._unprotected(call)

    def _run(self, operation: Operation, call: Callable[[], Any]) -> Outcome:
        def work(claim: Claim) -> Snapshot | None:
            return self._work(claim, call)

        try:
            return engine.run(self.backend, operation, work, wait=self.exchange.wait())
        except Exception as error:
            if getattr(error, "outcome_known", True) and not self.ending.unknown:
                self._send(signals.released, operation=operation, response=None, error=error)
            raise

    def _work(self, claim: Claim, call: Callable[[], Any]) -> Snapshot | None:
        exchange = self.exchange
        self.ending = claim.ending
        kept = False
        with exchange.inside(claim.operation, claim.attempt):
            self._send(signals.claimed, operation=claim.operation, attempt=claim.attempt)
            try:
                response = call()
            except Kept as answer:
                response, kept = answer.response, True
            except Exception as error:
                claim.ending.expected = is_ordinary(error, exchange)
                raise
            if isinstance(response, Coroutine):
                response.close()
                raise ImproperlyConfigured(COROUTINE)
        self.response = exchange.finish(response)
        if kept or exchange.keeps(self.response):
            return exchange.freeze(self.response)
        claim.ending.status = self.response.status_code
        return None

    def _answer(self, operation: Operation, outcome: Outcome) -> Any:
        on_behalf.tell(self.exchange.http, outcome)
        match outcome:
            case Completed():
                self.exchange.final()
                self._later(signals.completed, operation=operation, response=self.response)
                return self.response
            case Released():
                self.exchange.final()
                self._later(signals.released, operation=operation, response=self.response, error=None)
                return self.response
            case Replay(snapshot):
                return self._replay(operation, snapshot)
            case Refused(KeyExpired()) if self.exchange.policy.key:
                return self._replay(operation, doors.ACKNOWLEDGED)
            case Refused(error):
                if isinstance(error, KeyReused):
                    self.backend.mismatched(operation)
                return self._refuse(error, operation)

    def _replay(self, operation: Operation, snapshot: Snapshot) -> Any:
        try:
            response = self.exchange.thaw(snapshot)
        except StoreUnavailable as error:
            return self._refuse(error, operation)
        self._send(signals.replayed, operation=operation, response=response)
        return response

    def _refuse(self, error: IdempotencyError, operation: Operation | None) -> Any:
        logger.info("Refused %s for key %s", error.code, shortened(operation.key) if operation else "-")
        self._send(signals.rejected, operation=operation, error=error)
        return self.exchange.refuse(error)

    def _send(self, signal: Any, **arguments: Any) -> None:
        if counts.wanted(self.exchange.policy):
            counts.note(signal, self.arrived, arguments)
        if signal.has_listeners(self.sender):
            send = functools.partial(signal.send_robust, self.sender, request=self.exchange.request, **arguments)
            self.backend.observe(send)

    def _later(self, signal: Any, **arguments: Any) -> None:
        if signal.has_listeners(self.sender) or counts.wanted(self.exchange.policy):
            self.backend.on_commit(functools.partial(self._send, signal, **arguments))


def is_ordinary(error: Exception, exchange: Exchange) -> bool:
    """Whether an exception becomes an answer below 500."""
    answers = (*exchange.answers(), BadRequest, SuspiciousOperation)
    return isinstance(error, answers) and getattr(error, "status_code", 400) < 500


def shortened(key: str) -> str:
    """A key as it may stand in a log."""
    return f"{key[:4]}…" if len(key) > 8 else "…"
