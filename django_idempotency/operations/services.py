"""A request that a durable operation answers, on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .. import doors, on_behalf, signals
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
            operation = exchange.operation(self._key(), durable=durable, lease=exchange.policy.lease)
        except IdempotencyError as error:
            return self._refuse(error, None)
        exchange.refuse_nested(operation)
        on_behalf.refuse_changed(exchange.http, operation, exchange.policy)
        self._refuse_second(durable.name)
        exchange.authorize()
        return self._answer(operation, self._ran(run(operation)))

    def _refuse_second(self, name: str) -> None:
        """Raises ImproperlyConfigured where another operation has answered this request: it has the same key."""
        http = self.exchange.http
        first = vars(http).setdefault("_idempotency_operation", name)
        if first != name:
            raise ImproperlyConfigured(f"{first} has answered this request; {name} would be given its answer.")

    def begun(self, claim: Claim) -> None:
        """The function is about to run for this claim."""
        on_behalf.begin(self.exchange.http)
        self._send(signals.claimed, operation=claim.operation, attempt=claim.attempt)

    def _key(self) -> str:
        # Whatever REQUIRED says: what goes on by itself would be done twice by a client that cannot name it again.
        key = self.exchange.key()
        if key is None:
            raise doors.missing(self.exchange.policy)
        return key

    def _ran(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Completed) and isinstance(outcome, Ran):
            self.response = self.exchange.thaw(outcome.snapshot)
            del self.response[self.exchange.policy.replayed_header]
        return outcome
