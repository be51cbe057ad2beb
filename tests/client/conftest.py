from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_idempotency.client import Server
from tests.client.loopback import Loopback
from tests.client.shops import DAY, Shop


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    """Start servers on loopback, which end with the test."""
    started = []

    def start(service: Any, port: int = 0) -> Loopback:
        started.append(Loopback(service, port))
        return started[-1]

    yield start
    for loopback in started:
        loopback.end()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def shop_of(kind: str) -> Callable[..., Shop]:
    """Make the shop that calls a server; one that honours keys, unless `key_ttl=None`."""

    def make(loopback: Any, **options: Any) -> Shop:
        mine = {name: options.pop(name) for name in ("quoted", "key_ttl", "retried") if name in options}
        server = Server(origin=getattr(loopback, "origin", loopback), **{"key_ttl": DAY, **mine})
        return Shop(kind, server, **options)

    return make
