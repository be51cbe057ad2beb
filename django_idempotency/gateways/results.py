"""
What a gateway has done with a call: one class for each thing that a caller does differently.

    Approved         the money is held or taken, exactly as much as was asked
    Declined         the payer's side said no
    Pending          the gateway will decide later
    ActionRequired   the payer has to do something first
    Cancelled        given up before any money moved
    NoMoneyMoved     a success of another kind, such as a card that was only verified
    Failed           this call did nothing, for a reason that is not the payer's
    Unknown          nobody can tell: look it up, and never take it for a no
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What all of them have. Amounts are integers of ISO 4217 minor units, currencies in upper case."""

    status: ClassVar[str]

    reference: str | None = None
    """The gateway's own name for what it made; it is what captures and refunds go by."""
    amount: int | None = None
    """What the gateway says, which is not always what was asked."""
    currency: str | None = None
    reason: str | None = None
    """The gateway's code or ours, for logs and staff. Never the payer's data."""
    retryable: bool = False
    """Whether the same call under the same key may be sent again at once; a key that is too old forbids it all the same."""

    def as_json(self) -> dict[str, Any]:
        """A dict of JSON's own types, with the class as its `status`: what a journal keeps."""
        return {"status": self.status, **{field.name: getattr(self, field.name) for field in fields(self)}}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Result:
        """The result that `as_json` was made of. A status that is not one of ours raises ValueError."""
        kind = KINDS.get(data["status"])
        if kind is None:
            raise ValueError(f"{data['status']!r} is not the status of a result.")
        return kind(**{name: value for name, value in data.items() if name != "status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(Result):
    """The money is held or taken, exactly as much as was asked."""

    status = "approved"

    reference: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined(Result):
    """The payer's side said no. An answer like any other: it is kept."""

    status = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(Result):
    """The gateway will decide later, and tell by a webhook or when it is asked."""

    status = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequired(Result):
    """The payer has to do something first, such as to confirm with the bank."""

    status = "action-required"

    action: dict[str, Any] | None = None
    """What to do, in the gateway's own words: for its own code in the payer's browser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Result):
    """Given up before any money moved."""

    status = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMoneyMoved(Result):
    """The gateway did what it was asked, and it was not a payment: a card that was verified, a payer who was recognised."""

    status = "no-money-moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Result):
    """
    This call did nothing, for a reason that is not the payer's.

    Retryable: the gateway has not looked at it (no connection, too many requests, credentials); whether an earlier call
    under the key did something, this one does not say. Not retryable: the gateway has looked at it and refused it.
    """

    status = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(Result):
    """Nobody can tell what happened. Look it up; never send it under another key, never take it for a no."""

    status = "unknown"

    key_forgotten: bool = False
    """True: the gateway has kept nothing under the key, so the call must not be sent again under it either."""


KINDS: dict[str, Callable[..., Result]] = {
    kind.status: kind
    for kind in (Approved, Declined, Pending, ActionRequired, Cancelled, NoMoneyMoved, Failed, Unknown)
}
