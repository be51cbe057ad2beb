"""Exactly-once views for Django and Django REST framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decorators import idempotent
    from .exceptions import Kept, OutcomeUnknown, RetryLater
    from .operations import Respond, operation
    from .outbox import enqueue_on_commit

__all__ = ["Kept", "OutcomeUnknown", "Respond", "RetryLater", "enqueue_on_commit", "idempotent", "operation"]

_HOMES = {
    "Kept": "exceptions",
    "OutcomeUnknown": "exceptions",
    "Respond": "operations",
    "RetryLater": "exceptions",
    "enqueue_on_commit": "outbox",
    "idempotent": "decorators",
    "operation": "operations",
}


def __getattr__(name: str) -> Any:
    # Lazy, because the conformance kit runs without Django, and pytest loads the plugin before anybody needs it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
