"""What was counted over the last hour, day or week, in even slots of time, for the charts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.db.models import F, Sum

from .counts import BOUNDS, FAILED, NEW, REFUSED, REPLAYED, TOOK
from .rows import rows_in


@dataclass(frozen=True, slots=True)
class Span:
    """How many slots of how many minutes each."""

    slots: int
    width: int


SPANS = {"hour": Span(60, 1), "day": Span(48, 30), "week": Span(56, 180)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What was counted from then on, until the next slot begins."""

    begins_at: datetime
    new: int = 0
    replayed: int = 0
    failed: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """By the error's code."""
    took: Mapping[str, int] = field(default_factory=dict)
    """How many took how long at most; see `percentile`."""


def series(span: Span, *, using: str | None = None, now: float | None = None) -> list[Slot]:
    """The slots of a span up to now, the latest last, whether anything was counted in them or not. One statement."""
    minute = int(time.time() if now is None else now) // 60
    first = (minute // span.width - span.slots + 1) * span.width
    found: dict[int, Counter[str]] = {first + number * span.width: Counter() for number in range(span.slots)}
    rows = rows_in(using).filter(begins__gte=first, begins__lt=first + span.slots * span.width)
    slots = rows.annotate(slot=F("begins") - F("begins") % span.width).values_list("slot", "measure")
    for slot, measure, number in slots.annotate(Sum("counter")).order_by():
        found[slot][measure] += int(number)
    return [_slot(begins, counted) for begins, counted in found.items()]


def percentile(took: Mapping[str, int], share: float) -> float | None:
    """
    How many milliseconds so large a share of the requests took at most; None where there was none.

    Between two bounds it is taken to be as far as its rank, so it is right to within that distance.
    """
    rank, below, passed = sum(took.values()) * share, 0.0, 0
    if not rank:
        return None
    for bound in BOUNDS:
        inside = took.get(str(bound), 0)
        if inside and passed + inside >= rank:
            return below + (bound - below) * (rank - passed) / inside
        below, passed = bound, passed + inside
    return below


def _slot(begins: int, counted: Counter[str]) -> Slot:
    return Slot(
        begins_at=datetime.fromtimestamp(begins * 60, UTC),
        new=counted[NEW],
        replayed=counted[REPLAYED],
        failed=counted[FAILED],
        refused=_after(REFUSED, counted),
        took=_after(TOOK, counted),
    )


def _after(prefix: str, counted: Counter[str]) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in counted.items() if name.startswith(prefix)}
