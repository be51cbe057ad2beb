"""
What a site of some size needs, computed from what one request was measured to cost.

`python -m benchmarks.scale` prints the table of docs/explanation/scale.md; a test compares them. `simulated` lets the
hours go by one after the other, to check the sums. The costs are those that `python -m benchmarks.costs` prints.
"""

from collections import deque
from dataclasses import dataclass

RETENTION, TOMBSTONE = 72, 30 * 24
"""Hours: the defaults."""
RATES = (10, 100, 1000)
"""New requests a second."""
RETRIED = 0.1
"""Replays for each new request."""
SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Of one row, in microseconds of one core of PostgreSQL's and in bytes; the view's own INSERT included."""

    new: float
    replay: float
    log: float
    answer: float
    tombstone: float
    shrinking: float
    deleting: float


# A view of one INSERT, an answer of 64 bytes, a stored request of 40. Taken on two cores that six other programs used, too.
MEASURED = Costs(new=1400, replay=290, log=4500, answer=590, tombstone=390, shrinking=27.0, deleting=2.8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    cores: float
    cached: float
    """Cores where Redis answers all replays."""
    log: float
    """Bytes a second."""
    rows: float
    stored: float
    """Bytes, with all indexes."""
    purging: float
    """Seconds of one core in each hour."""


def needs(rate: float, costs: Costs = MEASURED) -> Needs:
    answers, tombstones = rate * SECONDS * RETENTION, rate * SECONDS * TOMBSTONE
    purging = rate * SECONDS * (costs.shrinking + costs.deleting) / 1e6
    cached = rate * costs.new / 1e6 + purging / SECONDS
    return Needs(
        cores=cached + rate * RETRIED * costs.replay / 1e6,
        cached=cached,
        log=rate * costs.log,
        rows=answers + tombstones,
        stored=answers * costs.answer + tombstones * costs.tombstone,
        purging=purging,
    )


def simulated(rate: float, hours: int, costs: Costs = MEASURED) -> tuple[float, float, float]:
    """Rows and bytes at the end of so many hours, and the seconds that the purge took in the last."""
    answers: deque[float] = deque()
    tombstones: deque[float] = deque()
    worked = 0.0
    for _ in range(hours):
        answers.append(rate * SECONDS)
        worked = 0.0
        if len(answers) > RETENTION:
            shrunk = answers.popleft()
            tombstones.append(shrunk)
            worked += shrunk * costs.shrinking / 1e6
        if len(tombstones) > TOMBSTONE:
            worked += tombstones.popleft() * costs.deleting / 1e6
    stored = sum(answers) * costs.answer + sum(tombstones) * costs.tombstone
    return sum(answers) + sum(tombstones), stored, worked


def table() -> str:
    head = ["new requests a second", "cores", "with Redis", "log, MB/s", "rows", "GB", "purge, seconds an hour"]
    ruler = ["---:" for _ in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ruler, *map(cells_of, RATES)])


def cells_of(rate: float) -> list[str]:
    found = needs(rate)
    return [
        f"{rate:,}",
        f"{found.cores:.2f}",
        f"{found.cached:.2f}",
        f"{found.log / 1e6:.2f}",
        f"{found.rows / 1e6:,.1f} M",
        f"{found.stored / 1e9:,.1f}",
        f"{found.purging:,.1f}",
    ]


if __name__ == "__main__":
    print(table())
