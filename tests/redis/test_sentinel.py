"""RedisBackend under a Sentinel: what a fail-over keeps, and what it may lose, as the documentation says."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_idempotency.backends import RedisBackend
from django_idempotency.conf import get_policy
from django_idempotency.core.engine import Replay
from tests.support.contenders import ANSWER, Work, code, operation
from tests.support.redis_contender import ALIAS, REDIS
from tests.support.redis_servers import Watched, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def watched(settings: Any) -> Iterator[Watched]:
    watched = Watched()
    REDIS.on(settings, watched)
    yield watched
    watched.close()


def in_step(watched: Watched) -> None:
    """Wait until the replica has all that its primary has."""
    primary = watched.primary.ask("INFO", "replication")["master_repl_offset"]
    until(lambda: watched.replica.ask("INFO", "replication")["master_repl_offset"] >= primary)


def test_what_the_replica_had_received_is_replayed_after_a_fail_over(watched):
    asked, work = operation(), Work()
    assert code(REDIS.run(asked, work)) == "Completed"
    in_step(watched)
    watched.fail_over()
    assert REDIS.run(asked, work) == Replay(ANSWER)
    assert code(REDIS.run(operation(), work)) == "Completed"
    assert work.runs == 2


def test_a_claim_that_the_replica_had_received_is_completed_there(watched):
    asked = operation()
    work = Work(lambda: (in_step(watched), watched.fail_over()))
    assert code(REDIS.run(asked, work)) == "Completed"
    assert REDIS.run(asked, work) == Replay(ANSWER)
    assert work.runs == 1


def test_a_claim_that_a_fail_over_has_lost_is_put_back_by_its_owner(watched):
    asked = operation()
    watched.cut()
    work = Work(watched.fail_over)
    assert code(REDIS.run(asked, work)) == "Completed"
    assert REDIS.run(asked, work) == Replay(ANSWER)
    assert work.runs == 1


def test_an_answer_that_a_fail_over_has_lost_is_made_anew(watched):
    """What Redis alone cannot promise: its replication is asynchronous."""
    asked, work = operation(), Work()
    watched.cut()
    assert code(REDIS.run(asked, work)) == "Completed"
    watched.fail_over()
    assert code(REDIS.run(asked, work)) == "Completed"
    assert work.runs == 2


def test_a_primary_that_waits_for_its_replica_takes_no_work_without_it(watched):
    """min-replicas-to-write, as the documentation advises."""
    watched.primary.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    watched.cut()
    until(lambda: watched.primary.ask("INFO", "replication")["connected_slaves"] == 0)
    work = Work()
    assert code(REDIS.run(operation(), work)) == "store-unavailable"
    assert work.runs == 0


def test_a_sentinel_that_hangs_is_waited_for_as_the_check_asks_for(watched, settings):
    """One time-out for the command, and one for its repetition."""
    brief = {"SOCKET_TIMEOUT": 0.5, "SOCKET_CONNECT_TIMEOUT": 0.5}
    theirs = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "retry": Retry(NoBackoff(), 0)}
    options = {**watched.cache["OPTIONS"], **brief, "SENTINEL_KWARGS": theirs}
    settings.CACHES = {**settings.CACHES, ALIAS: {**watched.cache, "OPTIONS": options}}
    settings.IDEMPOTENCY = {"default": {"BACKEND": REDIS.policy.backend, "CACHE": ALIAS}}
    assert not RedisBackend.check(get_policy("default"))
    watched.sentinel.pause()
    started = time.monotonic()
    assert code(REDIS.run(operation(), Work())) == "store-unavailable"
    assert time.monotonic() - started < 3
