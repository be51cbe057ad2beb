"""The journal of a durable operation and what it allows. All decisions are here; the store carries them out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

# A call may still be on its way when it is no longer waited for, and the other system's clock is not ours.
MARGIN = timedelta(minutes=1)
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When upkeep resumes what only its client may ask for again."""


class Kind(StrEnum):
    PHASE = "phase"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step as the journal has it."""

    position: int
    name: str
    kind: Kind
    input: str = field(repr=False)
    """JSON."""
    result: str | None = field(default=None, repr=False)
    """JSON; None while a remote call has none."""
    status: int | None = None
    """Of the answer, where the result is one."""
    gateway_key: str = ""
    key_ttl: timedelta | None = None
    """How long the other system honours its key; None: it knows of no keys."""
    requested_at: datetime | None = None
    """When it was first about to be sent."""

    @property
    def finished(self) -> bool:
        return self.result is not None


class Changed(Exception):
    """What the function does now is not what the journal says it has done: it is not gone on with."""


def refuse_change(recorded: Step, name: str, kind: Kind, asked: str) -> None:
    """Raises Changed where this step is another one than the journal has in its place."""
    if (recorded.name, recorded.kind) != (name, kind):
        raise Changed(f"step {recorded.position} was {recorded.kind} {recorded.name}, and is {kind} {name} now")
    if recorded.input != asked:
        where = ", ".join(_differences(json.loads(recorded.input), json.loads(asked), "")[:3])
        raise Changed(f"step {recorded.position}, {name}, is given another input now: {where}")


def refuse_end(recorded: list[Step], consumed: int) -> None:
    """Raises Changed where the function ends before it has come to all that the journal says it has done."""
    if consumed < len(recorded):
        left = recorded[consumed]
        raise Changed(f"step {left.position} was {left.kind} {left.name}, and the function ends before it now")


def may_be_sent(step: Step, now: datetime, timeout: timedelta) -> bool:
    """
    Whether a call that nobody has heard of may be sent again: while the other system surely remembers its key.

    A call that looks as if it never happened may still be on its way. Under the same key it does no harm.
    """
    if step.key_ttl is None or step.requested_at is None:
        return False
    return now < step.requested_at + step.key_ttl - timeout - MARGIN


def _differences(before: Any, after: Any, pointer: str) -> list[str]:
    """Where two values differ, as JSON pointers; never the values."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        pairs = [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(str(n), old, new) for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    else:
        return [pointer or "/"]
    return [found for name, old, new in pairs for found in _differences(old, new, f"{pointer}/{name}")]
