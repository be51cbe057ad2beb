"""What a payment comes to on its way, on each database: where it can be killed or stopped."""

import pytest

from tests.support import services

# PostgreSQL writes the record and the step of a call in one statement, the others in a transaction.
BEGUN = {
    "postgresql": "claim-1 hold-1 work-1 step-1 commit-1 step-2 call-1",
    "others": "claim-1 hold-1 work-1 step-1 commit-1 hold-2 step-2 commit-2 call-1",
}
WHOLE = {
    "postgresql": f"{BEGUN['postgresql']} result-1 hold-2 work-2 step-3 commit-2 complete-1",
    "others": f"{BEGUN['others']} hold-3 result-1 commit-3 hold-4 work-2 step-3 commit-4 complete-1",
}
PUT_OFF = {name: f"{begun} postpone-1" for name, begun in BEGUN.items()}
"""Nobody knows what the call did."""
FOUND = {
    "postgresql": "takeover-1 commit-1 hold-1 lookup-1 result-1 hold-2 work-1 step-1 commit-2 complete-1",
    "others": ("takeover-1 commit-1 hold-1 lookup-1 hold-2 result-1 commit-2 hold-3 work-1 step-1 commit-3 complete-1"),
}
"""By upkeep, of a call whose answer was lost."""
AGAIN = {
    "postgresql": (
        "takeover-1 commit-1 hold-1 lookup-1 hold-2 call-1 result-1 hold-3 work-1 step-1 commit-2 complete-1"
    ),
    "others": (
        "takeover-1 commit-1 hold-1 lookup-1 hold-2 call-1 hold-3 result-1 commit-2 hold-4 work-1 step-1 commit-3"
        " complete-1"
    ),
}
"""By upkeep, of a call that has not arrived."""

SERVERS = [vendor for vendor in services.chosen_databases() if vendor != "sqlite"]


def of(trace: dict[str, str], vendor: str) -> str:
    return trace.get(vendor, trace["others"])


def points(trace: dict[str, str], vendor: str) -> list[str]:
    """Return the points before and after everything in a trace, in their order."""
    return [f"{when}-{name}" for name in of(trace, vendor).split() for when in ("before", "after")]


def locked(vendor: str) -> list[str]:
    """Return the points of a whole payment at which it holds its record."""
    found, inside = [], False
    for point in points(WHOLE, vendor):
        inside = (inside or point.startswith("after-hold")) and not point.startswith("after-commit")
        found += [point] if inside else []
    return found


def last_hold(point: str, vendor: str) -> str:
    """Return the writing of the record by which it is held at a point."""
    known = points(WHOLE, vendor)
    holds = [other for other in known[: known.index(point) + 1] if other.startswith("before-hold")]
    return holds[-1].removeprefix("before-")


def free(vendor: str) -> list[str]:
    """Return the points of a whole payment at which somebody else can take it up."""
    known = points(WHOLE, vendor)[1:]
    return [point for point in known if point not in locked(vendor)]


def at(*traces: dict[str, str]) -> pytest.MarkDecorator:
    """Parametrize a test by database and by each point of the traces."""
    pairs = [
        (vendor, point) for vendor in services.chosen_databases() for trace in traces for point in points(trace, vendor)
    ]
    return pytest.mark.parametrize(("shop", "point"), dict.fromkeys(pairs), indirect=["shop"])
