"""Leaving a Redis alone that has just failed, so that it does not cost every request its time-out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from ..exceptions import StoreUnavailable

logger = logging.getLogger("django_idempotency")

PAUSE = 1.0
"""Seconds for which this process leaves a cache alone that has failed."""
QUIET = 60.0
"""Seconds for which the same is not logged again."""

Result = TypeVar("Result")


class Breaker:
    """Whether to ask a cache, by what became of the last question."""

    def __init__(self, alias: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.alias = alias
        self.clock = clock
        self.until: float | None = None
        """Until when it is left alone; None while it answers."""
        self.told = -QUIET

    def closed(self) -> bool:
        """Whether to ask. After a pause, one caller tries, and the others go on leaving it alone."""
        if self.until is None:
            return True
        now = self.clock()
        if now < self.until:
            return False
        self.until = now + PAUSE
        return True

    def failed(self, error: StoreUnavailable) -> None:
        now = self.clock()
        self.until = now + PAUSE
        if now - self.told >= QUIET:
            self.told = now
            logger.warning("The cache %r does not answer, and is done without: %r", self.alias, error.__cause__)

    def worked(self) -> None:
        self.until = None


@cache
def breaker(alias: str) -> Breaker:
    """The one of this process for a cache."""
    return Breaker(alias)


def asked(alias: str, call: Callable[[], Result]) -> Result | None:
    """What the cache says; None where it fails, and where it is left alone."""
    found = breaker(alias)
    if not found.closed():
        return None
    try:
        result = call()
    except StoreUnavailable as exc:
        found.failed(exc)
        return None
    found.worked()
    return result
