"""A request that a durable operation answers, on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from django.core.exceptions import ImproperlyConfigured

from .. import doors, signals
from ..core.engine import Claim, Completed, Durable, Operation, Outcome
from ..exceptions import IdempotencyError
from ..http import SAFE_METHODS
from ..services import Service
from .runs import Ran


class OperationService(Service):
    """One request whose work is a durable operation."""

    def answer(self, durable: Durable, run: Callable[[Operation], Outcome]) -> Any:
        exchange = self.exchange
        if exchange.http.method in SAFE_METHODS:
            raise ImproperlyConfigured(f"A durable operation has effects, and {exchange.http.method} must have none.")
        try:
            operation = exchange.operation(self._key())
        except IdempotencyError as error:
            return self._refuse(error, None)
        exchange.refuse_nested(operation)
        exchange.authorize()
        operation = replace(operation, durable=durable, lease=exchange.policy.lease)
        return self._answer(operation, self._ran(run(operation)))

    def begun(self, claim: Claim) -> None:
        """The function is about to run for this claim."""
        self._send(signals.claimed, operation=claim.operation, attempt=claim.attempt)

    def _key(self) -> str:
        key = self.exchange.key()
        if key is not None:
            return key
        if self.exchange.policy.required:
            raise doors.missing(self.exchange.policy)
        # Nobody can repeat it, but it survives a crash all the same.
        return str(uuid4())

    def _ran(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Completed) and isinstance(outcome, Ran):
            self.response = self.exchange.thaw(outcome.snapshot)
            del self.response[self.exchange.policy.replayed_header]
        return outcome
