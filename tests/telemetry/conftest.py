"""What OpenTelemetry is told in this directory is kept in memory. Without its SDK there is nothing to collect here."""

import importlib.util

import pytest
from django.dispatch import Signal

from django_idempotency import signals


def _have_sdk() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


collect_ignore_glob = [] if _have_sdk() else ["*.py"]


@pytest.fixture(autouse=True)
def receivers(monkeypatch):
    """Let what is connected in a test end with it."""
    for signal in [signal for signal in vars(signals).values() if isinstance(signal, Signal)]:
        monkeypatch.setattr(signal, "receivers", [*signal.receivers])
