"""
What is wanted of all requests, and the walks along the index over (state, due_at) that together meet each of it once.

Of a record under way `due_at` is when it was claimed. Of an answered one it is when its answer expires: the time of the
answer, and a span on top that each profile may choose. So there is a lane for each state and each span in use.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from .conf import get_policy, profiles
from .core.states import State

SAMPLED = 200
"""Records whose spans are looked at. Ids are digests: the first ones are a sample of all."""
MOST_SPANS = 5
EARLIEST, LATEST = 1980, 9000
"""Years to which a span can be added."""

UNDER_WAY = (State.PROCESSING.value, State.UNKNOWN.value)
ANSWERED = (State.COMPLETED.value, State.TOMBSTONE.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which requests; an empty one wants all of them."""

    state: str = ""
    window: timedelta | None = None
    """How long ago, at most, they were answered or, if they have not been, claimed."""
    namespace: str = ""
    scope: str = ""
    status: int = 0
    """The first digit of the answer's status."""

    def states(self) -> tuple[str, ...]:
        if "\0" in self.namespace + self.scope:
            return ()  # What no column takes, no record has.
        states = (State.COMPLETED.value,) if self.status else (*UNDER_WAY, *ANSWERED)
        return tuple(state for state in states if self.state in ("", state))

    def condition(self, now: datetime) -> Q:
        """What the index does not decide."""
        narrow = Q(moment__gte=now - self.window) if self.window else Q()
        if self.namespace:
            narrow &= Q(namespace=self.namespace)
        if self.scope:
            narrow &= Q(scope=self.scope)
        if self.status:
            narrow &= Q(status__gte=self.status * 100, status__lt=self.status * 100 + 100)
        return narrow


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list: after the record of this time, lane and id."""

    time: datetime
    lane: int
    id: UUID

    def __str__(self) -> str:
        return f"{self.time.isoformat()}~{self.lane}~{self.id}"

    @classmethod
    def read(cls, text: str) -> Position | None:
        """The position that was written so; None where none was."""
        try:
            written, lane, pk = text.split("~")
            at = datetime.fromisoformat(written)
            if timezone.is_aware(at) != settings.USE_TZ or not EARLIEST <= at.year <= LATEST:
                return None
            # In UTC: no database takes every distance from it that Python does.
            return cls(at.astimezone(UTC) if settings.USE_TZ else at, int(lane), UUID(pk))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One walk along the index: the records of one state whose span is between two others, or any."""

    rank: int
    state: str
    span: timedelta
    shortest: timedelta | None = None
    longest: timedelta | None = None

    def own(self) -> Q:
        """Those of a state's records that are this lane's."""
        mine = Q()
        if self.shortest is not None:
            mine &= Q(moment__lte=F("due_at") - self.shortest)
        if self.longest is not None:
            mine &= Q(moment__gt=F("due_at") - self.longest)
        return mine

    def after(self, position: Position, *, newer: bool) -> Q:
        """What of this lane comes after a position: in time, then by lane, then by id."""
        way, at = ("gt" if newer else "lt"), position.time + self.span
        if self.rank == position.lane:
            # The first condition is the index's; the other is about the few of the same time.
            return Q(**{f"due_at__{way}e": at}) & (Q(**{f"due_at__{way}": at}) | Q(**{f"id__{way}": position.id}))
        also = (self.rank > position.lane) is not newer
        return Q(**{f"due_at__{way}{'e' if also else ''}": at})


def lanes(records: Any, wanted: Wanted) -> list[Lane]:
    """The walks that together meet each record that is wanted once."""
    found: list[tuple[str, timedelta, timedelta | None, timedelta | None]] = []
    for state in wanted.states():
        if state in UNDER_WAY:
            found.append((state, timedelta(0), None, None))
            continue
        spans = sorted(_spans(records, state))
        # Without a window every record counts, of whatever span, and so one lane takes them all.
        chosen = spans if wanted.window else spans[:1]
        halves = [None, *((one + other) / 2 for one, other in pairwise(chosen)), None]
        found += [(state, span, *edges) for span, edges in zip(chosen, pairwise(halves), strict=True)]
    return [
        Lane(rank=rank, state=state, span=span, shortest=shortest, longest=longest)
        for rank, (state, span, shortest, longest) in enumerate(found)
    ]


def _spans(records: Any, state: str) -> list[timedelta]:
    """From an answer to when it is due: what the profiles say, and what records show that were written by other rules."""
    kept = state == State.COMPLETED.value
    said = {policy.retention + (timedelta(0) if kept else policy.tombstone) for policy in map(get_policy, profiles())}
    times = records.order_by("pk").values_list("completed_at", "expires_at" if kept else "forget_at")[:SAMPLED]
    # To the second: what was closed by other means than an answer would else be a lane of its own.
    seen = Counter(
        timedelta(seconds=round((until - since).total_seconds())) for since, until in times if since and until
    )
    return [*said, *(span for span, _ in seen.most_common(MOST_SPANS) if span not in said)]
