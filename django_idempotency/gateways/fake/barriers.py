"""Requests that are held at the fake gateway until they are released: for tests that kill their sender meanwhile."""

from __future__ import annotations

import threading


class Barriers:
    """Which requests are held, by key and point."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[threading.Event, tuple[str, str]] = {}

    def hold(self, key: str, point: str) -> None:
        """Wait here until released."""
        released = threading.Event()
        with self._changed:
            self._held[released] = (key, point)
            self._changed.notify_all()
        released.wait()

    def held(self, wait: float = 0) -> list[dict[str, str]]:
        """What is held now; if nothing is, wait for it, so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._held, wait)
            return [{"key": key, "point": point} for key, point in self._held.values()]

    def release(self) -> int:
        """Let all go on that are held now; how many."""
        with self._changed:
            held, self._held = self._held, {}
        for released in held:
            released.set()
        return len(held)
