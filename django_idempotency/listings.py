"""
Requests, newest first, out of a table too large to be sorted or counted: along its index over (state, due_at) alone.

The index is walked in lanes, one for each state and span (see lanes.py), which are merged by time. No lane looks at more
than LOOKED_AT records for one page, however few of them are wanted: then the page says how far it has come, and the next
one goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import BooleanField, Case, CharField, F, Func, Q, Value, When
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.utils import timezone

from .lanes import Lane, Position, Wanted, lanes
from .models import IdempotencyRecord

LOOKED_AT = 5_000
"""Records that one lane looks at for one page."""
COUNTED = 500
"""Up to here a list is counted."""
SKEW = timedelta(minutes=1)
"""By how much a clock may be ahead of ours."""

# What is shown of a request in a list; never its bodies.
LISTED = (
    *("id", "namespace", "scope", "key", "state", "token", "method", "path", "status", "amount", "currency"),
    *("claimed_at", "completed_at", "expires_at", "forget_at", "operation"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    records: list[IdempotencyRecord]
    counted: int
    """How many were found from here on, up to COUNTED."""
    until: datetime | None
    """Up to where it was looked, where the page ends because there was too much to look at; None where it was not."""
    newer: Position | None
    older: Position | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """What one lane has for a page: the wanted ones as (id, time), and up to where it has looked."""

    lane: Lane
    found: list[tuple[UUID, datetime]]
    end: datetime | None
    """None where the lane has ended."""


def listed(
    records: Any,
    wanted: Wanted,
    *,
    limit: int,
    older: Position | None = None,
    newer: Position | None = None,
    seconds: float = 0,
) -> Page:
    """
    One page of the requests that are wanted, the newest first: the first one, or the one from a position on.

    The records come without their bodies. With no window the answered ones are in the order in which they expire. Where
    few are wanted among many, it goes on looking for so many seconds; then the page ends where it has come to.
    """
    deadline = time.monotonic() + seconds
    walk = _Walk(records, wanted, newer=newer is not None and older is None)
    page = walk.page(older or newer, limit)
    while page.until and page.older and len(page.records) < limit and time.monotonic() < deadline:
        more = walk.page(page.older, limit - len(page.records))
        page = Page(
            records=page.records + more.records,
            counted=page.counted + more.counted,
            until=more.until,
            newer=page.newer,
            older=more.older,
        )
    return page


def found(records: Any, text: str, *, limit: int) -> list[IdempotencyRecord]:
    """The requests whose key or id is exactly this, whenever they came, the newest first: one more than the limit or two."""
    # Without an order: to look for it by primary key could read the whole table.
    records = records.only(*LISTED)
    hits = list(_exactly(records.filter(key=text), text)[: limit + 1]) if "\0" not in text else []
    pk = _uuid(text)
    if pk and pk not in {record.pk for record in hits}:
        hits += records.filter(pk=pk)
    return sorted(hits, key=lambda record: record.completed_at or record.claimed_at, reverse=True)


def _exactly(records: Any, text: str) -> Any:
    """To MariaDB's index, keys are equal that differ in case or in spaces at the end: without those."""
    if connections[records.db].vendor != "mysql":
        return records
    return records.filter(Exact(Func(F("key"), template="BINARY %(expressions)s", output_field=CharField()), text))


def pages(records: Any, wanted: Wanted, *, limit: int) -> Iterator[list[IdempotencyRecord]]:
    """All requests that are wanted, page by page."""
    walk, older = _Walk(records, wanted, newer=False), None
    while True:
        page = walk.page(older, limit)
        yield page.records
        older = page.older
        if older is None:
            return


class _Walk:
    """Along all lanes at once, away from a position."""

    def __init__(self, records: Any, wanted: Wanted, *, newer: bool) -> None:
        self.records = records
        self.wanted = wanted
        self.newer = newer
        self.now = timezone.now()
        self.lanes = lanes(records, wanted)
        self.order = ("due_at", "id") if newer else ("-due_at", "-id")
        self.position: Position | None = None

    def page(self, position: Position | None, limit: int) -> Page:
        self.position = position
        most = 1 + (limit if position else max(limit, COUNTED))
        stretches = [self._stretch(lane, most) for lane in self.lanes]
        end = self._end(stretches, most)
        merged = [
            (at, stretch.lane.rank, pk)
            for stretch in stretches
            for pk, at in stretch.found
            if end is None or (at <= end if self.newer else at >= end)
        ]
        # Stable: of one lane and time, they stay as the database has sorted them.
        merged.sort(key=lambda row: (row[0], -row[1]), reverse=not self.newer)
        return self._page(merged[:limit], end, counted=len(merged), more=len(merged) > limit)

    def _stretch(self, lane: Lane, most: int) -> _Stretch:
        """As far as LOOKED_AT goes: where that ends is asked of the index alone, and bounds the question for the rest."""
        due = self._within(lane).order_by(*self.order)
        last = due.values_list("due_at", flat=True)[LOOKED_AT - 1 : LOOKED_AT].first()
        mine = _decided(due, lane.own() & self.wanted.condition(self.now))
        if last is not None:
            mine = mine.filter(**{"due_at__lte" if self.newer else "due_at__gte": last})
        rows = list(mine.values_list("id", "due_at")[:most])
        return _Stretch(
            lane=lane, found=[(pk, at - lane.span) for pk, at in rows], end=None if last is None else last - lane.span
        )

    def _within(self, lane: Lane) -> Any:
        """The part of the index that a lane goes along: in the window, and after the position."""
        records = self.records.filter(state=lane.state, due_at__isnull=False)
        if self.wanted.window:
            records = records.filter(due_at__gte=self.now - self.wanted.window + lane.span)
            if lane.longest is not None:
                # Above that are other lanes' records alone, perhaps very many.
                records = records.filter(due_at__lte=self.now + SKEW + lane.span)
        return records.filter(lane.after(self.position, newer=self.newer)) if self.position else records

    def _end(self, stretches: list[_Stretch], most: int) -> datetime | None:
        """How far all lanes together have come: what lies beyond may have others before it that nobody has seen."""
        ends = [stretch.found[-1][1] if len(stretch.found) == most else stretch.end for stretch in stretches]
        known = [end for end in ends if end is not None]
        return (min(known) if self.newer else max(known)) if known else None

    def _page(self, rows: list[tuple[datetime, int, UUID]], end: datetime | None, *, counted: int, more: bool) -> Page:
        until = None if more else end
        onwards = Position(*rows[-1]) if more else self._beyond(until)
        back = Position(*rows[0]) if rows and self.position else self.position
        shown = self.records.only(*LISTED).in_bulk([pk for *_, pk in rows])
        # Some may be gone in between.
        records = [shown[pk] for *_, pk in rows if pk in shown]
        counted = min(counted, COUNTED + 1)
        if self.newer:
            return Page(records=records[::-1], counted=counted, until=until, newer=onwards, older=back)
        return Page(records=records, counted=counted, until=until, newer=back, older=onwards)

    def _beyond(self, end: datetime | None) -> Position | None:
        """After all that has this time, in every lane."""
        if end is None:
            return None
        return Position(end, -1, UUID(int=0)) if self.newer else Position(end, 1 << 30, UUID(int=0))


def _decided(records: Any, condition: Q) -> Any:
    """
    Those of which the condition is true, asked so that PostgreSQL's planner does not guess how many.

    It would guess few, and then rather read the whole table than go along the index. `moment` is when they were answered or
    claimed.
    """
    if not condition:
        return records
    fits = Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())
    return records.annotate(moment=Coalesce("completed_at", "claimed_at")).filter(fits)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
