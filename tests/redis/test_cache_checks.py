"""The system checks of CACHE and MAX_LIVE_KEYS: settings under which each speaks, and settings next to them."""

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.checks import Error
from django.test import override_settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_idempotency.backends import DatabaseBackend
from django_idempotency.core.policies import Policy
from django_idempotency.replays import checks

PLAIN = {"SOCKET_CONNECT_TIMEOUT": 0.2, "SOCKET_TIMEOUT": 0.2}
REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0", "OPTIONS": PLAIN}


def found(policy: Policy, entry: Any = REDIS) -> set[str]:
    with override_settings(CACHES={"default": REDIS, "replays": entry}):
        messages = DatabaseBackend.check(policy)
    assert all(isinstance(message, Error) == ("E0" in message.id) for message in messages)
    return {message.id.removeprefix("django_idempotency.") for message in messages}


def of(entry: Any = REDIS, /, **options: Any) -> set[str]:
    """What is said of a cache with these OPTIONS."""
    return found(Policy(cache="replays"), {**entry, "OPTIONS": {**PLAIN, **options}})


def pool(**options: Any) -> set[str]:
    return of(CONNECTION_POOL_KWARGS=options)


def test_a_cache_as_the_documentation_sets_it_up_is_fine():
    assert of() == set()
    assert found(Policy(cache="replays", max_live_keys=5)) == set()
    assert of(CLIENT_CLASS="django_redis.client.SentinelClient") == set()


@pytest.mark.parametrize(
    "backend",
    ["django.core.cache.backends.redis.RedisCache", "django.core.cache.backends.locmem.LocMemCache", "tests.no.Cache"],
)
def test_another_cache_than_django_rediss_is_an_error(backend):
    assert of({"BACKEND": backend}) == {"E020"}


def test_a_cache_that_is_not_there_is_an_error():
    assert found(Policy(cache="nowhere")) == {"E020"}


def test_a_client_without_a_connection_to_give_is_an_error():
    assert of(CLIENT_CLASS="django_redis.client.ShardClient") == {"E020"}


def test_answers_that_are_made_texts_of_are_an_error():
    assert (pool(decode_responses=True), pool(decode_responses=False)) == ({"E020"}, set())


def test_a_limit_without_a_cache_to_count_in_is_an_error():
    assert found(Policy(max_live_keys=5)) == {"E021"}


@pytest.mark.parametrize("name", ["SOCKET_CONNECT_TIMEOUT", "SOCKET_TIMEOUT"])
def test_a_redis_that_may_hold_requests_up_is_a_warning(name):
    assert of(**{name: None}) == of(**{name: 5}) == {"W010"}
    assert of(**{name: 1}) == of(**{name: None, "CONNECTION_POOL_KWARGS": {name.lower(): 0.2}}) == set()


def test_a_policy_that_repeats_nothing_is_no_retry():
    assert (pool(retry=Retry(NoBackoff(), 0)), pool(retry=Retry(NoBackoff(), 1))) == (set(), {"W010"})


def sentinels(**options: Any) -> set[str]:
    """What is said of a cache whose sentinels are asked like this."""
    return of(SENTINELS=[("10.0.0.1", 26379)], SENTINEL_KWARGS=options)


class TestSentinels:
    BRIEF: ClassVar = {"socket_connect_timeout": 0.2, "socket_timeout": 0.2, "retry": Retry(NoBackoff(), 0)}

    def test_as_the_documentation_sets_them_up_they_are_fine(self):
        assert sentinels(**self.BRIEF) == sentinels(**{**self.BRIEF, "retry": None}) == set()

    def test_redis_pys_own_retries_are_a_warning(self):
        assert (
            of(SENTINELS=[("10.0.0.1", 26379)]) == of(SENTINELS=[("10.0.0.1", 26379)], SENTINEL_KWARGS=None) == {"W010"}
        )
        assert sentinels(socket_connect_timeout=0.2, socket_timeout=0.2) == {"W010"}

    @pytest.mark.parametrize("name", ["socket_connect_timeout", "socket_timeout"])
    def test_the_time_outs_of_the_rest_are_not_theirs(self, name):
        others = {key: value for key, value in self.BRIEF.items() if key != name}
        assert sentinels(**others) == sentinels(**others, **{name: 5}) == {"W010"}

    @pytest.mark.parametrize("told", [{"retry": Retry(NoBackoff(), 1)}, {"retry_on_timeout": True}])
    def test_retries_of_theirs_are_a_warning(self, told):
        assert sentinels(**{**self.BRIEF, **told}) == {"W010"}

    def test_without_sentinels_nothing_is_asked_of_them(self):
        assert of(SENTINEL_KWARGS={}) == set()


@pytest.mark.parametrize("name", ["retry", "retry_on_timeout", "retry_on_error"])
def test_retries_are_a_warning(name):
    assert (pool(**{name: True}), pool(**{name: None})) == ({"W010"}, set())


def test_every_check_of_the_cache_is_tested():
    told = set(re.findall(r"\b[EW]0\d\d\b", Path(checks.__file__).read_text()))
    assert told == {"E020", "E021", "W010"}
