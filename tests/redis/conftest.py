"""A Redis of the tests' own, and the settings under which its cache stands in front of the database."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from django_idempotency.replays import breakers
from tests.support.redis_servers import RedisServer

collect_ignore_glob = [] if importlib.util.find_spec("django_redis") else ["test_*.py"]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for tests that leave it as they found it."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that its test may stop and kill."""
    server = RedisServer()
    yield server
    server.close()


def cached(server: RedisServer, **options: Any) -> Any:
    """Settings with a cache on a server, as the documentation advises to set it up."""
    brief = {"SOCKET_TIMEOUT": 0.2, "SOCKET_CONNECT_TIMEOUT": 0.2}
    entry = {**server.cache, "OPTIONS": {**server.cache["OPTIONS"], **brief, **options}}
    return override_settings(CACHES={"default": entry, "replays": entry}, IDEMPOTENCY={"default": {"CACHE": "replays"}})


@pytest.fixture
def cache(redis_server: RedisServer) -> Iterator[Any]:
    """An empty cache in front of the records; a client that sees what is in it."""
    with cached(redis_server), redis_server.client() as client:
        client.flushall()
        breakers.breaker.cache_clear()
        yield client
