"""The way to a project's Redis: through django-redis, and past it where it would hide an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha1
from typing import Any
from uuid import UUID

from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from ...exceptions import StoreUnavailable

INSTALL = 'Redis needs django-redis: pip install "django-idempotency[redis]".'


@cache
def client(alias: str) -> Any:
    """
    The raw client of a cache, for its primary: it raises where the cache itself would return None (IGNORE_EXCEPTIONS).

    Raises ImproperlyConfigured where CACHES has no such cache of django-redis, and StoreUnavailable where a cluster does
    not tell its nodes.
    """
    try:
        from django_redis import get_redis_connection  # type: ignore[import-untyped]
    except ImportError as exc:
        raise ImproperlyConfigured(INSTALL) from exc
    try:
        with errors():
            return get_redis_connection(alias)
    except (InvalidCacheBackendError, NotImplementedError) as exc:
        raise ImproperlyConfigured(f"CACHES[{alias!r}] is no cache of django-redis with one client: {exc}") from exc


def record_key(alias: str, record_id: UUID, part: str = "") -> str:
    """Where what concerns one record lives: under the cache's own prefix. All its parts are on one node of a cluster."""
    return str(caches[alias].make_key(f"idempotency:{{{record_id}}}{part}"))


@contextmanager
def errors() -> Iterator[None]:
    """Raise StoreUnavailable for whatever keeps Redis from doing what it was told."""
    try:
        yield
    except _failures() as exc:
        raise StoreUnavailable from exc


@cache
def _failures() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisClusterException, RedisError

    return (RedisError, RedisClusterException, OSError)


class Script:
    """A Lua script, which Redis runs as one step. It is sent in full only where Redis does not know it yet."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    def run(self, alias: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What the script returns. Raises StoreUnavailable, after which nobody knows whether it has run."""
        from redis.exceptions import NoScriptError

        redis = client(alias)
        with errors():
            try:
                return redis.evalsha(self.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                return redis.eval(self.source, len(keys), *keys, *arguments)


def evictions(alias: str) -> set[str]:
    """What each primary does when its memory is full."""
    redis = client(alias)
    with errors():
        nodes = [redis.get_redis_connection(node) for node in getattr(redis, "get_primaries", list)()] or [redis]
        return {str(node.info("memory")["maxmemory_policy"]) for node in nodes}


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CACHES":
        client.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_idempotency.redis")
