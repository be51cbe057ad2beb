"""
What is open now, in figures. No statement reads more rows than it needs to count to a thousand, along an index.

A large table is never counted: beyond COUNTED, a figure says that there are more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

from django.db.models import Q
from django.utils import timezone

from .core.states import State
from .maintenance import ago, records_in
from .models import IdempotencyApproval, IdempotencyIncident

COUNTED = 1000
ABANDONED_AFTER = timedelta(minutes=5)
"""When upkeep looks at a claim, too, unless it was told otherwise."""
LATELY = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Of what is open in one currency: the amount that has waited longest, and the largest one."""

    currency: str
    oldest: Decimal
    largest: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many are open, since when, and the money in them. Where there are more than COUNTED, of the oldest of them."""

    number: int
    more: bool
    since: datetime | None
    money: tuple[Money, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How long it took to close what was closed lately, half of it at least; None where nothing was."""

    number: int
    more: bool
    median: timedelta | None


def incidents(kind: str, using: str | None = None) -> Standing:
    """The open incidents of a kind."""
    return _standing(_incidents(using).filter(kind=kind, open_since__isnull=False), "first_seen", "open_since")


def in_flight(using: str | None = None) -> Standing:
    """Requests that are under way, durable operations among them that wait to go on."""
    records = records_in(using).filter(state=State.PROCESSING.value)
    return _standing(records.exclude(_abandoned(records)), "claimed_at", "due_at")


def abandoned(using: str | None = None) -> Standing:
    """Claims that nobody has extended or ended for so long that their owner is likely to be dead."""
    records = records_in(using).filter(state=State.PROCESSING.value)
    return _standing(records.filter(_abandoned(records)), "claimed_at", "due_at")


def unknown(using: str | None = None) -> Standing:
    """Records whose outcome nobody knows."""
    return _standing(records_in(using).filter(state=State.UNKNOWN.value), "claimed_at", "due_at")


def awaiting_approval(using: str | None = None) -> Standing:
    """Acts that wait for a second person, and still may be granted."""
    approvals = IdempotencyApproval._base_manager.using(records_in(using).db)
    waiting = approvals.filter(state=IdempotencyApproval.State.REQUESTED, expires_at__gt=timezone.now())
    return _standing(waiting, "requested_at", "expires_at")


def settled(using: str | None = None) -> Settled:
    """The incidents closed over the last 7 days, by a person or because the key has completed."""
    closed = _incidents(using).filter(healed_at__gte=timezone.now() - LATELY).order_by("-healed_at")
    took = [healed - seen for seen, healed in closed.values_list("first_seen", "healed_at")[: COUNTED + 1]]
    counted = took[:COUNTED]
    return Settled(
        number=len(counted),
        more=len(took) > COUNTED,
        median=median(counted) if counted else None,
    )


def _incidents(using: str | None) -> Any:
    return IdempotencyIncident._base_manager.using(records_in(using).db)


def _abandoned(records: Any) -> Q:
    before = ago(records, ABANDONED_AFTER)
    # What upkeep settles: an operation is gone on with instead.
    return Q(operation="", due_at__lte=before) & (Q(lease_until=None) | Q(lease_until__lte=before))


def _standing(found: Any, since: str, index: str) -> Standing:
    rows = list(found.order_by(index).values_list(since, "amount", "currency")[: COUNTED + 1])
    counted = sorted(rows[:COUNTED], key=lambda row: row[0])
    return Standing(
        number=len(counted),
        more=len(rows) > COUNTED,
        since=counted[0][0] if counted else None,
        money=tuple(_money((amount, currency) for _, amount, currency in counted if amount is not None)),
    )


def _money(amounts: Iterable[tuple[Decimal, str]]) -> Iterable[Money]:
    """By currency, the most frequent one first. The oldest amounts come first."""
    found: dict[str, list[Decimal]] = {}
    for amount, currency in amounts:
        found.setdefault(currency.upper(), []).append(amount)
    for currency, many in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        yield Money(currency=currency, oldest=many[0], largest=max(many))
