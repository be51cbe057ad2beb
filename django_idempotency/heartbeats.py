"""
Signs of life of the operations that this process works on: their leases are extended while their functions run.

Each has a maximum, for a function that hangs must not keep its operation from others for ever.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections

from .exceptions import StoreUnavailable

logger = logging.getLogger("django_idempotency")

LONGEST = 10.0
"""How many leases long a function may take between two steps."""
TICK = 0.2
"""Seconds from one look to the next."""
IDLE = 10.0


class Heart:
    """One operation's signs of life."""

    def __init__(self, extend: Callable[[], bool], lease: float, pulse: Pulse | None = None) -> None:
        self.pulse = pulse or PULSE
        self.extend = extend
        self.lease = lease
        self.until = time.monotonic() + LONGEST * lease
        self.due = time.monotonic() + lease / 3
        self.lock = threading.Lock()
        """Held during a beat: after its removal, a heart does not beat once more."""

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While the function runs."""
        self.pulse.add(self)
        try:
            yield
        finally:
            self.pulse.remove(self)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While a transaction of ours holds the record: a sign of life would wait for it, and nobody else can come in."""
        self.pulse.remove(self)
        try:
            yield
        finally:
            self._allow(LONGEST * self.lease)
            self.pulse.add(self)

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """While a call is under way that takes no longer than so many seconds."""
        self._allow(seconds)
        try:
            yield
        finally:
            self._allow(LONGEST * self.lease)
            # A call that took longer has been given up.
            self.pulse.add(self)

    def _allow(self, seconds: float) -> None:
        now = time.monotonic()
        self.until, self.due = now + seconds, now + self.lease / 3


class Pulse:
    """One thread that extends leases, begun with the first and ended when there have been none for a while."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._hearts: set[Heart] = set()
        self._changed = threading.Lock()
        self._idle_since = 0.0
        self._thread: threading.Thread | None = None

    def add(self, heart: Heart) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._idle_since = time.monotonic()
                thread = threading.Thread(target=self._run, name="idempotency-heartbeat", daemon=True)
                thread.start()
                self._thread = thread
            self._hearts.add(heart)

    def remove(self, heart: Heart) -> None:
        with self._changed:
            self._hearts.discard(heart)
        with heart.lock:
            pass

    def _run(self) -> None:
        try:
            while self._needed():
                # A lease has a second at least. To be woken for each run would cost more than to look.
                time.sleep(TICK)
                self._beat()
        finally:
            connections.close_all()

    def _needed(self) -> bool:
        """Whether to go on; False where nothing has run for a while, and this thread has ended."""
        with self._changed:
            if self._hearts:
                self._idle_since = time.monotonic()
            if time.monotonic() < self._idle_since + IDLE:
                return True
            self._thread = None
            return False

    def _beat(self) -> None:
        now = time.monotonic()
        with self._changed:
            due = [heart for heart in self._hearts if heart.due <= now]
        for heart in due:
            with heart.lock:
                living = heart in self._hearts and time.monotonic() < heart.until
                lost = living and not self._extended(heart)
                heart.due = now + heart.lease / 3
            with self._changed:
                # Its limit is read again: a call that has just ended has given it another one.
                if lost or time.monotonic() >= heart.until:
                    self._hearts.discard(heart)

    def _extended(self, heart: Heart) -> bool:
        try:
            return heart.extend()
        except StoreUnavailable:
            return True  # The lease is three beats long.
        except Exception:
            logger.exception("The lease of a running operation could not be extended.")
            return True


PULSE = Pulse()
OF_REDIS = Pulse()
"""A Redis that does not answer costs each of its hearts a time-out, in which no heart of the database may miss its beat."""
