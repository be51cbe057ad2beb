"""
Counts what happens to requests, in the process that serves them, and writes it every ten seconds.

A request pays for a few additions: no statement, no savepoint, no signal. They are written by a thread of their own over
a connection of its own, so that no transaction of a request is ever touched. What a process that is killed has not
written yet, the last ten seconds at most, is lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.core import mail
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import request_started
from django.db import connections
from django.dispatch import Signal
from django.http import Http404

from .. import signals
from ..core.policies import Policy

logger = logging.getLogger("django_idempotency")

NEW = "new"
REPLAYED = "replayed"
FAILED = "failed"
REFUSED = "refused."
"""Followed by the error's code."""
TOOK = "took."
"""Followed by an upper bound in milliseconds, of BOUNDS; the last has none."""
BOUNDS = (
    *(1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 60_000),
)
BEYOND = "more"

PAUSE = 10.0
"""Seconds between two writes."""
KEPT = 60
"""Minutes that are kept in memory while the database cannot be written to."""
AT_EXIT = 2.0
"""Seconds that the end of the process waits for the last write."""
SQLITE_PATIENCE = 100
"""Milliseconds: a commit that waits for SQLite's readers keeps new ones out."""

Tally = dict[tuple[int, str], int]
"""By minute and measure."""


class Counts:
    """What was counted in this process and is not written yet."""

    def __init__(self) -> None:
        self.serving = False
        """Whether a server has handed in a request; until then nothing is counted."""
        self._default = False
        self._ended = threading.Event()
        self.forget()

    def forget(self) -> None:
        """In a process that was just forked: what its parent has counted, the parent writes."""
        self._lock = threading.Lock()
        self._tally: Tally = {}
        self._writer: threading.Thread | None = None
        self._failing = False

    def begin(self, **_: Any) -> None:
        """
        Count from now on. For `request_started`: a process that serves no requests has no thread for them.

        Nor has one that runs tests, which Django gives an outbox: it would write into their database while they are at
        it, and after their end into the one that the settings name.
        """
        if not hasattr(mail, "outbox"):
            request_started.disconnect(dispatch_uid=STARTED)
            self._default = apps.is_installed("django.contrib.admin")
            self.serving = True

    def wanted(self, policy: Policy) -> bool:
        """Whether requests under this profile are counted: where there is an admin to show them, unless it says."""
        choice = policy.count_requests
        return self.serving and (self._default if choice is None else choice)

    def note(self, signal: Signal, arrived: float, arguments: Mapping[str, Any]) -> None:
        """Count what a signal with these arguments tells of a request that has arrived then, by `perf_counter`."""
        measures = _measures(signal, time.perf_counter() - arrived, arguments)
        minute = int(time.time()) // 60
        with self._lock:
            for measure in measures:
                self._tally[minute, measure] = self._tally.get((minute, measure), 0) + 1
            if self._writer is None:
                self._start()

    def flush(self) -> None:
        """Write what was counted. What cannot be written is kept for the next time."""
        with self._lock:
            tally, self._tally = self._tally, {}
        if not tally:
            return
        try:
            _write(tally)
            self._failing = False
        except Exception as exc:  # noqa: BLE001 - the thread goes on, whatever the database says
            self._keep(tally)
            if not self._failing:
                logger.warning("The dashboard's counts cannot be written for now: %s.", type(exc).__name__)
            self._failing = True

    def end(self) -> None:
        """Write for a last time, unless that takes long."""
        writer = self._writer
        self._ended.set()
        if writer:
            writer.join(AT_EXIT)

    def _start(self) -> None:
        self._writer = threading.Thread(target=self._write_on, name="idempotency-counts", daemon=True)
        self._writer.start()

    def _write_on(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(PAUSE)
            try:
                self.flush()
            finally:
                connections.close_all()

    def _keep(self, tally: Tally) -> None:
        oldest = int(time.time()) // 60 - KEPT
        with self._lock:
            for (minute, measure), number in tally.items():
                if minute > oldest:
                    self._tally[minute, measure] = self._tally.get((minute, measure), 0) + number


def _measures(signal: Signal, seconds: float, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    if signal is signals.claimed:
        return (NEW,)
    if signal is signals.completed:
        return (took(seconds),)
    if signal is signals.replayed:
        return (REPLAYED,)
    if signal is signals.rejected:
        return (f"{REFUSED}{arguments['error'].code}"[:80],)
    if signal is signals.released:
        return (took(seconds), FAILED) if _failed(**arguments) else (took(seconds),)
    return ()


def took(seconds: float) -> str:
    """The measure of so long a time."""
    place = bisect_left(BOUNDS, seconds * 1000)
    return f"{TOOK}{BOUNDS[place] if place < len(BOUNDS) else BEYOND}"


def _failed(response: Any, error: BaseException | None, **_: Any) -> bool:
    """Whether it went wrong: answered with a 5xx, or an exception of which Django or DRF makes one."""
    if error is None:
        return bool(response.status_code >= 500)
    if not isinstance(error, Exception):
        return False  # the client has gone
    ordinary = isinstance(error, Http404 | PermissionDenied | BadRequest | SuspiciousOperation)
    return bool(getattr(error, "status_code", 400 if ordinary else 500) >= 500)


def _write(tally: Tally) -> None:
    # Not above: views may be imported before the models are ready.
    from . import rows

    alias = rows.rows_in(None).db
    if connections[alias].vendor == "sqlite":
        with connections[alias].cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {SQLITE_PATIENCE}")
    rows.add(tally, alias=alias)


STARTED = "django_idempotency.rollups"

counts = Counts()

atexit.register(counts.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=counts.forget)
