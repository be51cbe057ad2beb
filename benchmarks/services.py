"""What must answer before a variant can be measured."""

from importlib.util import find_spec

from benchmarks.settings import REDIS_URL
from benchmarks.variants import Variant

NEEDS_REDIS = {"cache", "cached", "redis"}


def reason_to_skip(variant: Variant) -> str:
    """Empty when the variant can be measured."""
    if not variant.installed:
        return "not installed"
    if variant.slug in NEEDS_REDIS and not redis_answers():
        return "no Redis answers"
    return ""


def redis_answers() -> bool:
    if not find_spec("redis"):
        return False
    from redis import Redis, RedisError

    try:
        return bool(Redis.from_url(REDIS_URL).ping())
    except RedisError:
        return False


def redis_version() -> str:
    from redis import Redis

    return str(Redis.from_url(REDIS_URL).info("server")["redis_version"])


def forget_cached_answers() -> None:
    from django.core.cache import cache

    if find_spec("django_redis") and redis_answers():
        cache.delete_pattern("*")
