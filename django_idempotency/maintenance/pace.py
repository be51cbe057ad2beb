"""How large the next batch is, and how long to rest before it. Decisions only: the times are passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace

ALONE = 0.1
"""Seconds that a batch should take while nobody else is at work on the database."""
BESIDE_OTHERS = 0.004
"""The same beside others, who meet its locks, its log and its pages."""
REST = 3
"""How many times as long as it has worked the purge rests beside others: they have the machine for most of the time."""
LONGEST_REST = 1.0
FIRST = 1000
LEAST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    most: int
    """Records in one batch, whatever is measured."""
    size: int
    """Records in the next batch."""
    rest: float = 0.0
    """Seconds to rest before it."""

    @classmethod
    def of(cls, most: int) -> Pace:
        """What to begin with, when nothing is known."""
        return cls(most=most, size=min(FIRST, most))

    def after(self, done: int, seconds: float, *, beside_others: bool) -> Pace:
        """What follows on a batch of so many records and seconds. It grows by and by, and shrinks at once."""
        rest = min(seconds * REST, LONGEST_REST) if beside_others else 0.0
        if not done:
            return replace(self, rest=rest)
        fitting = done * (BESIDE_OTHERS if beside_others else ALONE) / max(seconds, 1e-6)
        size = min(self.most, 2 * self.size, max(LEAST, int(fitting)))
        return replace(self, size=size, rest=rest)
