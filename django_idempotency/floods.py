"""What comes too often to be written each time."""

from __future__ import annotations

import threading
import time
from uuid import UUID


class Flood:
    """Tells how many of a kind to write now. The last few of a flood may stay uncounted."""

    BURST = 5
    PAUSE = 1.0
    KEYS = 1000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[UUID, tuple[float, int, int]] = {}
        """Since when, how often written since then, how many not written."""

    def due(self, record_id: UUID) -> int:
        """How many to write now: 0 where it was written often enough of late."""
        now = time.monotonic()
        with self._lock:
            since, written, waiting = self._seen.pop(record_id, (now, 0, 0))
            if now - since >= self.PAUSE:
                since, written = now, 0
            silent = written >= self.BURST
            self._seen[record_id] = (since, written, waiting + 1) if silent else (since, written + 1, 0)
            if len(self._seen) > self.KEYS:
                del self._seen[next(iter(self._seen))]
            return 0 if silent else waiting + 1
