"""How many keys of one scope may be in use, and what is counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import RequestFactory

from django_idempotency import idempotent
from django_idempotency.backends import DatabaseBackend
from django_idempotency.core.engine import Again, Refused
from django_idempotency.core.policies import Policy
from django_idempotency.exceptions import InFlight, KeyReused, StoreUnavailable
from django_idempotency.replays import breakers
from tests.redis.conftest import cached
from tests.redis.test_cache import asked_for, served
from tests.support.contenders import Work, code, operation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cache")]

POLICY = Policy(cache="replays", join_timeout=timedelta(0))
HOUR = timedelta(hours=1)


def counted(key: str = "", *, most: int = 2, **parts: Any) -> Any:
    retention = parts.pop("retention", HOUR)
    return replace(operation(key, **parts), max_live_keys=most, retention=retention)


def run(asked: Any, work: Any = None) -> str:
    return code(served(POLICY, asked, work))


def raising() -> None:
    raise ZeroDivisionError


@dataclass
class Instead:
    """What the database answers, without being asked."""

    found: Any

    def attempt(self, *_: Any) -> Any:
        return self.found()


@contextmanager
def without_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def away() -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(DatabaseBackend, "_protocol", lambda _: Instead(away))
        yield


def longest(cache: Any) -> float:
    """For how many seconds the last of the counted keys counts from now on."""
    (name,) = cache.scan_iter("*:live")
    ((_, end),) = cache.zrange(name, -1, -1, withscores=True)
    seconds, microseconds = cache.time()
    return float(end / 1000 - seconds - microseconds / 1_000_000)


class TestLimit:
    def test_a_new_key_beyond_it_is_refused_until_the_first_ends(self):
        outcomes = [served(POLICY, counted()) for _ in range(3)]
        assert [code(outcome) for outcome in outcomes] == ["Completed", "Completed", "too-many-keys"]
        error = outcomes[-1].error
        assert (error.retryable, error.retry_after) == (True, 3600)

    def test_the_advice_is_when_the_first_of_the_others_ends(self):
        run(counted(retention=timedelta(seconds=90)))
        run(counted())
        assert 80 < served(POLICY, counted()).error.retry_after <= 90

    def test_keys_that_are_in_use_already_are_not_refused(self):
        asked = [counted("a"), counted("b")]
        assert [run(one) for one in [*asked, *asked]] == ["Completed", "Completed", "Replay", "Replay"]

    def test_each_scope_and_each_namespace_has_room_of_its_own(self):
        for scope in ("user:1", "user:2"):
            assert [run(counted(most=1, scope=scope)) for _ in range(2)] == ["Completed", "too-many-keys"]
        assert run(replace(counted(most=1), namespace="another")) == "Completed"

    def test_a_key_whose_life_has_ended_makes_room(self, cache):
        run(counted(most=1))
        (name,) = cache.scan_iter("*:live")
        cache.zadd(name, dict.fromkeys(cache.zrange(name, 0, -1), 1))
        assert run(counted(most=1)) == "Completed"

    def test_without_a_limit_nothing_is_counted(self, cache):
        run(operation())
        assert list(cache.scan_iter("*:live")) == []

    def test_the_count_ends_with_the_last_of_its_keys(self, cache):
        run(counted(retention=2 * HOUR))
        run(counted(retention=HOUR))
        (name,) = cache.scan_iter("*:live")
        assert 7_100_000 < cache.pttl(name) <= 7_200_000


class TestRoomAgain:
    def test_a_key_that_is_released_makes_room(self):
        assert run(counted(most=1), Work(answer=None)) == "Released"
        with pytest.raises(ZeroDivisionError):
            run(counted(most=1), Work(raising))
        assert run(counted(most=1)) == "Completed"

    def test_a_key_whose_answer_has_expired_does_not_count(self):
        asked = counted("old", most=1, retention=timedelta(0))
        run(asked)
        assert run(asked) == "key-expired"
        assert run(counted(most=1)) == "Completed"

    def test_a_released_claim_of_a_coroutine_makes_room(self):
        leases = DatabaseBackend(POLICY).leases()
        claim = leases.claim(replace(counted(most=1), lease=HOUR))
        assert code(leases.claim(counted(most=1))) == "too-many-keys"
        assert leases.release(claim)
        assert code(leases.claim(replace(counted(most=1), lease=HOUR))) == "Claim"


class TestNotKept:
    """What is counted and belongs to no record would lock an honest client out."""

    def test_a_key_counts_for_a_minute_at_most_until_its_answer_is_kept(self, cache):
        """Its process may die, and a transaction round it may be rolled back, without a word."""
        meanwhile: list[float] = []
        run(counted(), Work(lambda: meanwhile.append(longest(cache))))
        assert (meanwhile[0] <= 60, longest(cache) > 3500) == (True, True)

    def test_an_answer_that_is_rolled_back_by_its_caller_counts_no_longer(self, cache):
        with transaction.atomic():
            assert run(counted()) == "Completed"
            transaction.set_rollback(True)
        assert longest(cache) <= 60
        with transaction.atomic():
            assert run(counted()) == "Completed"
        assert longest(cache) > 3500

    @pytest.mark.parametrize(
        ("found", "told"),
        [(Refused(InFlight()), "in-flight"), (Refused(KeyReused()), "key-reused"), (Again.UNCLEAR, "in-flight")],
    )
    def test_a_key_that_comes_to_nothing_is_not_counted(self, monkeypatch, cache, found, told):
        with monkeypatch.context() as patch:
            patch.setattr(DatabaseBackend, "_protocol", lambda _: Instead(lambda: found))
            assert run(counted()) == told
        assert list(cache.scan_iter("*:live")) == []

    def test_nor_is_one_while_the_database_is_away(self, monkeypatch):
        with without_database(monkeypatch):
            assert run(counted(most=1)) == "store-unavailable"
        assert run(counted(most=1)) == "Completed"

    def test_a_retry_while_the_database_is_away_makes_no_room(self, monkeypatch):
        known = counted("known", most=1)
        run(known)
        with without_database(monkeypatch):
            assert run(known) == "store-unavailable"
        assert run(counted(most=1)) == "too-many-keys"


class TestForgetfulRedis:
    def test_a_retry_is_no_new_key(self, cache):
        run(counted("known", most=1))
        cache.flushall()
        assert run(counted("known", most=1)) == "Replay"
        cache.delete(*(name for name in cache.scan_iter() if not name.endswith(b":live")))
        assert run(counted("known", most=1, body=b"amount=6")) == "key-reused"
        assert run(counted(most=1)) == "Completed"

    def test_a_key_that_the_database_knows_is_never_refused(self, cache):
        known = counted("known", most=1)
        run(known)
        cache.flushall()
        assert run(counted(most=1)) == "Completed"
        assert run(counted(most=1)) == "too-many-keys"
        assert run(known) == "Replay"

    def test_without_redis_there_is_no_limit(self, own_redis):
        own_redis.kill()
        breakers.breaker.cache_clear()
        with cached(own_redis):
            assert [run(counted(most=1)) for _ in range(3)] == ["Completed"] * 3


class TestBudget:
    def test_a_new_request_is_three_commands(self, monkeypatch):
        run(counted())
        with asked_for(monkeypatch) as (commands, _):
            run(counted())
        assert commands == ["GET", "EVALSHA", "EVALSHA"]

    def test_a_retry_is_two_and_what_fills_the_cache(self, monkeypatch):
        asked = counted()
        run(asked)
        with asked_for(monkeypatch) as (commands, _):
            run(asked)
        assert commands[:4] == ["GET", "EVALSHA", "SET", "EVALSHA"]

    def test_a_refusal_is_two_commands_and_one_read(self, monkeypatch):
        run(counted(most=1))
        with asked_for(monkeypatch) as (commands, queries):
            assert run(counted(most=1)) == "too-many-keys"
        assert (commands, len(queries)) == (["GET", "EVALSHA"], 1)


class TestAnswer:
    def test_a_client_is_told_429_and_when_to_come_again(self, settings):
        settings.IDEMPOTENCY = {"default": {"CACHE": "replays", "MAX_LIVE_KEYS": 1}}
        runs = []

        @idempotent
        def pay(request: Any) -> HttpResponse:
            runs.append(1)
            return HttpResponse(b"paid")

        def ask(key: str) -> Any:
            return pay(RequestFactory().post("/pay", headers={"Idempotency-Key": key}))

        assert [ask(key).status_code for key in ("a", "b", "a")] == [200, 429, 200]
        refused = ask("b")
        assert (refused.headers["Retry-After"], b"too-many-keys" in refused.content) == ("3600", True)
        assert len(runs) == 1

    def test_tasks_are_not_counted(self, cache, settings):
        """All of one name would be one principal's."""
        pytest.importorskip("celery", reason="without Celery")
        from django_idempotency.tasks import idempotent_task

        settings.IDEMPOTENCY = {"default": {"CACHE": "replays", "MAX_LIVE_KEYS": 1}}

        @idempotent_task(key="{order}", name="tests.redis.counted")
        def pay(order: int) -> int:
            return order

        assert [pay.apply(args=[order]).get() for order in range(3)] == [0, 1, 2]
        assert list(cache.scan_iter("*:live")) == []
