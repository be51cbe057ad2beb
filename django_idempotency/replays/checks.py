"""System checks of CACHE and MAX_LIVE_KEYS, without asking Redis: what the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from ..core.policies import Policy

LONGEST = 1.0
"""Seconds: what every request may wait for, again and again, while Redis is away."""
ADVICE = (
    'Set OPTIONS["SOCKET_CONNECT_TIMEOUT"] and OPTIONS["SOCKET_TIMEOUT"] to 0.2, and no "retry", "retry_on_timeout" or '
    '"retry_on_error" in OPTIONS["CONNECTION_POOL_KWARGS"].'
)
SENTINELS_ADVICE = (
    'Set "socket_connect_timeout" and "socket_timeout" in OPTIONS["SENTINEL_KWARGS"] to 0.2, and "retry" to '
    "redis.retry.Retry(redis.backoff.NoBackoff(), 0)."
)


def check_cache(policy: Policy) -> list[CheckMessage]:
    """What is wrong with the cache in front of a profile's records."""
    if policy.cache is None:
        return _check_without(policy)
    place = f"IDEMPOTENCY[{policy.profile!r}]['CACHE']"
    fault = _fault(policy.cache)
    if fault:
        return [Error(f"{place} {fault}", id="django_idempotency.E020")]
    options = _configured(policy.cache).get("OPTIONS", {})
    advice = [ADVICE] if any(_slow(options)) else []
    advice += [SENTINELS_ADVICE] if _slow_sentinels(options) else []
    message = f"{place} names {policy.cache!r}, whose OPTIONS let a request wait for a Redis that does not answer."
    return [Warning(message, hint=" ".join(advice), id="django_idempotency.W010")] if advice else []


def _check_without(policy: Policy) -> list[CheckMessage]:
    if policy.max_live_keys is None:
        return []
    return [
        Error(
            f"IDEMPOTENCY[{policy.profile!r}] has MAX_LIVE_KEYS and no CACHE to count the keys in.",
            hint="Name a cache of django-redis in CACHE.",
            id="django_idempotency.E021",
        )
    ]


def _fault(alias: str) -> str | None:
    """Why this cache cannot be used; None where it can be."""
    if alias not in settings.CACHES:
        return f"names no cache: {alias!r}. Known are {', '.join(sorted(settings.CACHES))}."
    configured = _configured(alias)
    if "django_redis.cache.RedisCache" not in _kinds(configured.get("BACKEND")):
        return f"names {alias!r}, which is no cache of django-redis, or that is not installed."
    if "django_redis.client.sharded.ShardClient" in _kinds(configured.get("OPTIONS", {}).get("CLIENT_CLASS")):
        return f"names {alias!r}, whose ShardClient has no connection of its own to give."
    if configured.get("OPTIONS", {}).get("CONNECTION_POOL_KWARGS", {}).get("decode_responses"):
        return f"names {alias!r}, whose decode_responses would make texts of what are bytes."
    return None


def _configured(alias: str) -> dict[str, Any]:
    return dict(settings.CACHES[alias])


def _kinds(path: Any) -> set[str]:
    """The names of a class and of those that it is made of. django-redis itself is for one module alone to import."""
    try:
        found = import_string(path) if isinstance(path, str) else path
    except ImportError:
        return set()
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in getattr(found, "__mro__", ())}


def _slow(options: dict[str, Any]) -> Iterator[bool]:
    pool = options.get("CONNECTION_POOL_KWARGS", {})
    chosen = {name.lower(): options.get(name) for name in ("SOCKET_CONNECT_TIMEOUT", "SOCKET_TIMEOUT")}
    yield from _waits({**pool, **{name: seconds or pool.get(name) for name, seconds in chosen.items()}})


def _slow_sentinels(options: dict[str, Any]) -> bool:
    """Whether they are waited for: they have connections of their own, which redis-py lets try ten times more."""
    kwargs = options.get("SENTINEL_KWARGS") or {}
    return "SENTINELS" in options and ("retry" not in kwargs or any(_waits(kwargs)))


def _waits(kwargs: dict[str, Any]) -> Iterator[bool]:
    """What redis-py's own arguments say."""
    for name in ("socket_connect_timeout", "socket_timeout"):
        seconds = kwargs.get(name)
        yield not isinstance(seconds, int | float) or seconds > LONGEST
    yield _repeats(kwargs.get("retry")) or any(kwargs.get(name) for name in ("retry_on_timeout", "retry_on_error"))


def _repeats(retry: Any) -> bool:
    return bool(retry.get_retries() if hasattr(retry, "get_retries") else retry)
