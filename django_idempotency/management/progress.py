"""A line now and then while a command is at work."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import OutputWrapper

PAUSE = 5.0
"""Seconds between two lines, unless every batch was asked for."""


class Progress:
    """Called with the sums so far: writes them at verbosity 2, now and then at 1, never at 0."""

    def __init__(self, stream: OutputWrapper, verbosity: int) -> None:
        self.stream = stream
        self.verbosity = verbosity
        self.written_at = time.monotonic()

    def __call__(self, sums: Any) -> None:
        now = time.monotonic()
        if self.verbosity > 1 or (self.verbosity == 1 and now - self.written_at >= PAUSE):
            self.written_at = now
            self.stream.write(f"so far: {counts(sums)}")


def counts(sums: Any) -> str:
    """The counts of a result in words: "shrunk 3, deleted 2"."""
    return ", ".join(f"{name} {getattr(sums, name)}" for name in sums.__dataclass_fields__)
