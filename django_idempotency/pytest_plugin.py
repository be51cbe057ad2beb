"""Fixtures for the tests of projects, found by pytest without being named."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .backends.memory import MemoryBackend


@pytest.fixture
def idempotency_key() -> str:
    """An idempotency key that no other test uses."""
    return str(uuid.uuid4())


@pytest.fixture
def idempotency_memory() -> Iterator[type[MemoryBackend]]:
    """MemoryBackend without any key, before the test and after it."""
    from .backends import MemoryBackend

    MemoryBackend.clear()
    yield MemoryBackend
    MemoryBackend.clear()
