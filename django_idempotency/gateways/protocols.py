"""What an adapter is. A new one is a class with these names; there is nothing to inherit from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from .results import Result


class Gateway(Protocol):
    """
    What every adapter has. Each call sends one request under the given key, never a second one, and never another key.

    Everything beside the named arguments is JSON, goes into the request as the gateway knows it, and cannot replace what
    the named arguments say. An amount that the currency or the gateway does not have raises ValueError, and nothing is
    sent. Nothing else is raised.
    """

    name: str
    timeout: float
    """Seconds that a call takes at most, whatever the gateway does."""

    @property
    def key_ttl(self) -> timedelta | None:
        """For how long a second call under a key is sure to be no second charge; None: that is not published."""

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result: ...


class Finds(Gateway, Protocol):
    """A gateway that can be asked what became of a charge."""

    def find(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result | None:
        """
        What became of the charge under a key, given what the charge was given. Sends nothing that moves money.

        None: there is no record of it. It may come into being yet; only a gateway that honours the key may be sent the
        charge again. Unknown: it cannot be told now.
        """


class Captures(Gateway, Protocol):
    """A gateway that takes money that it holds, and gives back what it has taken."""

    def capture(
        self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any
    ) -> Result: ...

    def refund(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result: ...
