"""Time and chance in one place, so that a test can bring its own."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime


class Clock:
    """The machine's clocks. Seconds, unless it says otherwise."""

    def now(self) -> datetime:
        """The time of day, aware, which other machines share more or less."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The time that never jumps: all waiting is measured by it."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self, most: float) -> float:
        """A random part of `most`, down to nothing: clients that failed together come back apart."""
        return random.uniform(0, most)  # noqa: S311 - nobody gains by guessing it
