"""
Traces and metrics through OpenTelemetry, fed by the signals and by nothing else. Needs the extra `telemetry`.

Nothing is observed before `install()` has been called, and nothing in the package imports this module.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import Count, Min
from django.utils import timezone
from django.utils.crypto import salted_hmac
from opentelemetry import metrics, trace

from . import signals
from .conf import get_policy, profiles
from .core.acts import Act
from .core.engine import Operation
from .core.states import State
from .http import STATUSES

logger = logging.getLogger("django_idempotency")

FRESH = 60.0
"""Seconds for which an answer of the database to the gauges is used again, in one process."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds; the default ones are made for milliseconds."""
OPEN = (State.PROCESSING, State.UNKNOWN)
OUTCOMES = ("completed", "released", "replayed", "unprotected", *STATUSES)


@cache
def install(meter_provider: metrics.MeterProvider | None = None) -> None:
    """
    Count what happens to requests, and tell the current span about it. Call it once, in the `ready()` of an AppConfig.

    Metrics go to the global meter provider, to be set before, unless another is given. A second call with the same one
    does nothing.
    """
    meter = metrics.get_meter("django_idempotency", meter_provider=meter_provider)
    requests, backlog = Requests(meter), Backlog()
    requests.start_at_nought(profiles())
    signals.claimed.connect(requests.claimed, weak=False)
    signals.completed.connect(requests.completed, weak=False)
    signals.released.connect(requests.released, weak=False)
    signals.replayed.connect(requests.replayed, weak=False)
    signals.rejected.connect(requests.rejected, weak=False)
    signals.missing.connect(requests.missing, weak=False)
    signals.recovered.connect(requests.recovered, weak=False)
    signals.resolved.connect(requests.resolved, weak=False)
    meter.create_observable_gauge(
        "idempotency.records", [backlog.numbers], "{record}", "Records that are processing or of unknown outcome"
    )
    meter.create_observable_gauge(
        "idempotency.records.age", [backlog.ages], "s", "Age of the oldest record that is processing or unknown"
    )


def key_hash(key: str) -> str:
    """A key as it may stand in a trace: 16 hexadecimal digits, keyed with SECRET_KEY, because keys can be guessed."""
    return salted_hmac("django_idempotency.telemetry", key, algorithm="sha256").hexdigest()[:16]


class Requests:
    """
    The receivers of the signals.

    What a metric is counted by comes from the settings and the code, never from a request: otherwise a client could
    make as many time series as it liked.
    """

    def __init__(self, meter: metrics.Meter) -> None:
        self.requests = meter.create_counter("idempotency.requests", "{request}", "Requests by their outcome")
        self.takeovers = meter.create_counter(
            "idempotency.takeovers", "{claim}", "Claims of dead owners that a retry took over"
        )
        self.recoveries = meter.create_counter(
            "idempotency.recoveries", "{record}", "Keys of dead owners that upkeep freed"
        )
        self.resolutions = meter.create_counter(
            "idempotency.resolutions", "{act}", "Records and incidents that a person has settled"
        )
        self.duration = meter.create_histogram(
            "idempotency.duration",
            "s",
            "Time from the start of the view to the end of its transaction",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )

    def start_at_nought(self, profiles: Iterable[str]) -> None:
        """What happens for the first time shall be an increase: of a series that begins with 1, Prometheus sees none."""
        self.recoveries.add(0)
        for act in Act:
            self.resolutions.add(0, {"idempotency.act": act.value})
        for profile in profiles:
            self.takeovers.add(0, {"idempotency.profile": profile})
            for outcome in OUTCOMES:
                self.requests.add(0, {"idempotency.outcome": outcome, "idempotency.profile": profile})

    def claimed(self, sender: Any, request: Any, operation: Operation, attempt: int, **_: Any) -> None:
        _begun(request)[operation.id] = time.perf_counter()
        _annotate("claimed", sender, operation, {"idempotency.attempt": attempt})
        if attempt > 1:
            self.takeovers.add(1, {"idempotency.profile": _profile(sender)})

    def completed(self, sender: Any, request: Any, operation: Operation, **_: Any) -> None:
        self._ended("completed", sender, request, operation)

    def released(self, sender: Any, request: Any, operation: Operation, **_: Any) -> None:
        self._ended("released", sender, request, operation)

    def replayed(self, sender: Any, request: Any, operation: Operation, **_: Any) -> None:
        self._ended("replayed", sender, request, operation)

    def rejected(self, sender: Any, request: Any, operation: Operation | None, error: Any, **_: Any) -> None:
        self._ended(error.code, sender, request, operation)

    def missing(self, sender: Any, request: Any, **_: Any) -> None:
        self._ended("unprotected", sender, request, None)

    def recovered(self, sender: Any, **_: Any) -> None:
        self.recoveries.add(1)

    def resolved(self, sender: Any, how: str, **_: Any) -> None:
        self.resolutions.add(1, {"idempotency.act": how})

    def _ended(self, outcome: str, sender: Any, request: Any, operation: Operation | None) -> None:
        labels = {"idempotency.outcome": outcome, "idempotency.profile": _profile(sender)}
        self.requests.add(1, labels)
        begun = _begun(request).pop(operation.id, None) if operation else None
        if begun is not None:
            self.duration.record(time.perf_counter() - begun, labels)
        _annotate(outcome, sender, operation, {"idempotency.outcome": outcome})


class Backlog:
    """
    How many records are open, and how old the oldest is, at most FRESH seconds ago.

    Asked in a thread and on a connection of its own: a scrape may be served in the middle of a request's transaction.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self._read_at = float("-inf")
        self._found: dict[State, tuple[int, float]] = {}

    def numbers(self, options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        for state, (number, _) in self._current(options).items():
            yield metrics.Observation(number, {"idempotency.state": state.value})

    def ages(self, options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        for state, (_, age) in self._current(options).items():
            yield metrics.Observation(age, {"idempotency.state": state.value})

    def _current(self, options: metrics.CallbackOptions) -> dict[State, tuple[int, float]]:
        with self._lock:
            running = self._reader is not None and self._reader.is_alive()
            if not running and time.monotonic() - self._read_at >= FRESH:
                self._read_at = time.monotonic()
                # What cannot be read is not reported, rather than for ever as it was.
                self._found = {}
                self._reader = threading.Thread(target=self._read, name="idempotency-backlog", daemon=True)
                self._reader.start()
        if self._reader:
            self._reader.join(options.timeout_millis / 1000)
        return self._found

    def _read(self) -> None:
        try:
            self._found = _backlog()
        except Exception:
            logger.exception("The open records could not be counted.")
        finally:
            connections.close_all()


def _backlog() -> dict[State, tuple[int, float]]:
    """Number, and age of the oldest in seconds, by state."""
    # Not above: an application may import this module before the models are ready.
    from .backends.db import database
    from .maintenance import records_in

    found = dict.fromkeys(OPEN, (0, 0.0))
    for alias in {database(get_policy(profile)) for profile in profiles()}:
        records = records_in(alias).filter(state__in=[state.value for state in OPEN])
        for name, number, oldest in records.values_list("state").annotate(Count("id"), Min("claimed_at")):
            known, age = found[State(name)]
            found[State(name)] = known + number, max(age, (timezone.now() - oldest).total_seconds())
    return found


def _begun(request: Any) -> dict[Any, float]:
    """When the work under a request began, by operation: idempotent views may call one another."""
    begun: dict[Any, float] = vars(request).setdefault("_idempotency_begun", {})
    return begun


def _profile(sender: Any) -> str:
    # Of a durable operation, or of a view.
    rule = getattr(sender, "rule", None) or sender.idempotent
    return str(rule.profile)


def _annotate(event: str, sender: Any, operation: Operation | None, said: dict[str, Any]) -> None:
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attributes({"idempotency.profile": _profile(sender), **said})
    if operation:
        span.set_attributes(
            {"idempotency.operation_id": str(operation.id), "idempotency.key_hash": key_hash(operation.key)}
        )
    span.add_event(f"idempotency.{event}", said)
