"""
Claims that may lie in Redis with nobody at work on them: the reply was lost, and the reply to the retry as well.

Their clients were told that nothing was kept and to come again. As soon as Redis answers, it is so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf

from ...core.engine import Claim
from ...heartbeats import OF_REDIS, Heart

KEPT = 1000
"""How many are remembered. Others end in doubt with their lease, as if their views had run."""
EVERY = 15.0
"""Three times the seconds from one try to the next."""


class Unheard:
    """The claims of one process."""

    def __init__(self, free: Callable[[Claim], None]) -> None:
        self._free = free
        self._claims: dict[int, Claim] = {}
        self._changed = threading.Lock()

    def add(self, claim: Claim) -> None:
        """Free the key of a claim as soon as Redis answers."""
        with self._changed:
            self._claims[claim.number] = claim
            if len(self._claims) > KEPT:
                del self._claims[next(iter(self._claims))]
            if len(self._claims) > 1:
                return
        heart = Heart(self._freed_some, EVERY, OF_REDIS)
        heart.until = inf
        OF_REDIS.add(heart)

    def _freed_some(self) -> bool:
        """Whether some are left."""
        for number, claim in list(self._claims.items()):
            self._free(claim)
            with self._changed:
                self._claims.pop(number, None)
        return bool(self._claims)
