"""What adapters share when they judge an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .amounts import Money
from .results import ActionRequired, Approved, Pending, Result, Unknown

Kind = Callable[..., Result]
"""One of the classes of results."""
Kinds = Mapping[str, Kind]
"""From a gateway's words to ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an answer tells, in the words that all gateways share."""

    status: str
    """The gateway's own word."""
    reference: str | None
    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    action: dict[str, Any] | None = None


def judged(told: Told, asked: Money, kinds: Kinds) -> Result:
    """
    The result, by the gateway's word for it; Unknown where the word is not known.

    Money that has moved or may move has to be as much as was asked, in the currency that was asked for. Else, and so for
    a part of it, it is Unknown, with the reference, for a person to settle. Only an approval has to tell the amount.
    """
    kind = kinds.get(told.status)
    if kind is None:
        return _unknown(told, f"status {told.status!r}")
    if kind is Approved and not told.reference:
        return _unknown(told, f"status {told.status!r} without a reference")
    if not _as_asked(told, asked, kind):
        return _unknown(told, f"asked for {asked}, told {told.amount} {told.currency}")
    action: dict[str, Any] = {"action": told.action} if kind is ActionRequired else {}
    return kind(**_facts(told), reason=told.reason, **action)


def only(entries: list[Any]) -> Any:
    """The one entry there is under a key; None where there is none. More than one raises ValueError."""
    if len(entries) > 1:
        raise ValueError(f"{len(entries)} entries under one key")
    return entries[0] if entries else None


def _as_asked(told: Told, asked: Money, kind: Kind) -> bool:
    facts = (told.amount, told.currency)
    if kind in (Pending, ActionRequired) and facts == (None, None):
        return True
    return kind not in (Approved, Pending, ActionRequired) or facts == (asked.amount, asked.currency)


def _unknown(told: Told, reason: str) -> Unknown:
    return Unknown(**_facts(told), reason=reason)


def _facts(told: Told) -> dict[str, Any]:
    return {"reference": told.reference, "amount": told.amount, "currency": told.currency}
