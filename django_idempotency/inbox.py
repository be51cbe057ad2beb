"""
Incidents in the order in which they are worth a look. No statement reads more rows than LOOKED_AT, along an index.

1. What is open, kind by kind: of each currency the largest amounts first, and of equal ones the oldest. Amounts of different
   currencies are never compared: the currency of which most is open comes first. What has no amount comes last.
2. Where more of a kind are open than are looked at, these are the oldest.
3. What is closed, the last first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .models import IdempotencyIncident

LOOKED_AT = 1000
"""Of a kind, or of the closed ones."""

Kind = IdempotencyIncident.Kind

LISTED = (
    *("id", "kind", "record_id", "namespace", "scope", "key", "method", "path", "error", "amount", "currency"),
    *("counter", "first_seen", "last_seen", "healed_at", "assignee", "assignee_id", "decision", "reference"),
)
SORTED_BY = ("id", "kind", "amount", "currency", "first_seen", "assignee", "assignee_id", "namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    kind: str = ""
    closed: bool = False
    nobodys: bool = False
    """Those that nobody sees to."""
    assignee_id: str = ""
    namespace: str = ""


@dataclass(slots=True, kw_only=True)
class Group:
    """The incidents of one kind; of all kinds where they are closed."""

    kind: str
    number: int
    more: bool
    """Whether there are more than were looked at."""
    pages: int
    ids: list[int]
    incidents: list[IdempotencyIncident] = field(default_factory=list)


def groups(incidents: Any, wanted: Wanted, *, limit: int, page: int = 1) -> list[Group]:
    """One page of each group that has any. The incidents come without their payloads."""
    if wanted.closed:
        closed = incidents.filter(healed_at__isnull=False).order_by("-healed_at")
        found = [_group("", closed, wanted, limit=limit, page=page)]
    else:
        kinds = [wanted.kind] if wanted.kind in Kind.values else Kind.values
        found = [_group(kind, _open(incidents, kind), wanted, limit=limit, page=page) for kind in kinds]
    shown = incidents.only(*LISTED).in_bulk([pk for group in found for pk in group.ids])
    for group in found:
        # Some may be gone in between.
        group.incidents = [shown[pk] for pk in group.ids if pk in shown]
    return [group for group in found if group.number]


def _open(incidents: Any, kind: str) -> Any:
    return incidents.filter(kind=kind, open_since__isnull=False).order_by("open_since")


def _group(kind: str, found: Any, wanted: Wanted, *, limit: int, page: int) -> Group:
    rows = list(found.values(*SORTED_BY)[: LOOKED_AT + 1])
    # Chosen here: to look further for the few that fit could read all that is open.
    mine = [row for row in rows[:LOOKED_AT] if _fits(row, wanted)]
    ids = [row["id"] for row in (mine if wanted.closed else _by_money(mine))]
    return Group(
        kind=kind,
        number=len(ids),
        more=len(rows) > LOOKED_AT,
        pages=-(-len(ids) // limit),
        ids=ids[(page - 1) * limit : page * limit],
    )


def _fits(row: dict[str, Any], wanted: Wanted) -> bool:
    asked = {
        "kind": wanted.kind or row["kind"],
        "namespace": wanted.namespace or row["namespace"],
        "assignee_id": wanted.assignee_id or row["assignee_id"],
        "assignee": "" if wanted.nobodys else row["assignee"],
    }
    return all(row[name] == value for name, value in asked.items())


def _by_money(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = list(rows)
    often = Counter(row["currency"].upper() for row in rows if row["amount"] is not None)

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        amount = row["amount"]
        if amount is None:
            return (1, 0, "", 0, row["first_seen"], row["id"])
        # Clients write it as they like, as the rules for approvals let them.
        currency = row["currency"].upper()
        return (0, -often[currency], currency, -amount, row["first_seen"], row["id"])

    return sorted(rows, key=place)
