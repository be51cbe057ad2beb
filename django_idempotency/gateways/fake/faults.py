"""What can go wrong at the fake gateway, one fault for one request."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Each but the last two befalls charges, captures and refunds; these two befall look-ups."""

    LATENCY = "latency"
    """Answers `seconds` later."""
    CUT = "cut"
    """Cuts the connection, and does nothing."""
    LOST = "lost"
    """Does it, and cuts the connection before it answers."""
    ERROR_BEFORE = "error-before"
    """Answers 500, and does nothing."""
    ERROR_AFTER = "error-after"
    """Does it, and answers 500."""
    WRONG_AMOUNT = "wrong-amount"
    """Takes one minor unit more than it was asked for, and says so."""
    UNKNOWN_STATUS = "unknown-status"
    """Does it, and answers with a status that nobody knows."""
    DRIP = "drip"
    """Does it, and answers byte by byte, over `seconds`."""
    LATE = "late"
    """Cuts the connection, and does it when the key has been looked up next."""
    HOLD_BEFORE = "hold-before"
    """Waits before it does anything, until it is released."""
    HOLD_AFTER = "hold-after"
    """Does it, and waits until it is released before it answers."""
    LOOKUP_DOWN = "lookup-down"
    """Answers a look-up with 503."""
    LOOKUP_LATENCY = "lookup-latency"
    """Answers a look-up `seconds` later."""


OF_LOOKUPS = frozenset({Kind.LOOKUP_DOWN, Kind.LOOKUP_LATENCY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How often one kind of fault happens, and how."""

    kind: Kind
    times: int | None = None
    """How many requests it befalls; None: all."""
    probability: float = 1
    seconds: float = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fault:
        return cls(**{**data, "kind": Kind(data["kind"])})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Faults:
    """The faults that are set. The first that applies to a request befalls it."""

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._lock = threading.Lock()
        self._seed = seed
        self.set(faults)

    def set(self, faults: Iterable[Fault]) -> None:
        """Set these in the place of the others; chance begins anew."""
        with self._lock:
            self._faults = [(fault, [fault.times]) for fault in faults]
            self._chance = random.Random(self._seed)  # noqa: S311 - repeatable, not secret

    def as_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [{**fault.as_json(), "times": left[0]} for fault, left in self._faults]

    def next(self, *, lookup: bool) -> Fault | None:
        """What befalls the next request."""
        with self._lock:
            for fault, left in self._faults:
                if (fault.kind in OF_LOOKUPS) is lookup and left[0] != 0 and self._chance.random() < fault.probability:
                    left[0] = None if left[0] is None else left[0] - 1
                    return fault
        return None
