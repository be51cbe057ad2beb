"""Where records live. A backend is named in a profile by its dotted path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import BaseBackend
    from .db import DatabaseBackend
    from .memory import MemoryBackend
    from .redis import RedisBackend

__all__ = ["BaseBackend", "DatabaseBackend", "MemoryBackend", "RedisBackend"]

_HOMES = {"BaseBackend": "base", "DatabaseBackend": "db", "MemoryBackend": "memory", "RedisBackend": "redis"}


def __getattr__(name: str) -> Any:
    # Lazy, because the models cannot be imported before Django's app registry is ready.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
