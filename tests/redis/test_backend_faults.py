"""Processes, servers and replies that are lost at every step of RedisBackend, and what is true afterwards."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from django_idempotency.backends import RedisBackend
from django_idempotency.backends.redis import scripts
from django_idempotency.backends.redis.connections import Script
from django_idempotency.core.engine import Replay
from django_idempotency.models import IdempotencyIncident
from tests.support.contenders import ANSWER, Work, code, operation
from tests.support.proxies import Proxy
from tests.support.redis_contender import ALIAS, REDIS, RedisContender
from tests.support.redis_servers import RedisServer, cache, until
from tests.support.threads import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
STEPS = ["before the claim", "after the claim", "before the completion", "after the completion"]
EVER = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away is not waited for."""
    monkeypatch.setattr("django_idempotency.core.leases.PAUSES", (0.0,))


@pytest.fixture
def own(settings: Any) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis that the test may kill, and makes it that of the records."""
    started = []

    def start(*options: str) -> RedisServer:
        started.append(RedisServer(*options))
        REDIS.on(settings, started[0])
        return started[0]

    start.started = started  # type: ignore[attr-defined]
    yield start
    RedisBackend(REDIS.policy).leases().unheard._claims.clear()
    for server in started:
        server.close()


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], Any]], None]:
    """Does something once at a step of the protocol."""
    run, planned = Script.run, {}

    def watched(script: Script, *arguments: Any) -> Any:
        name = {scripts.CLAIM: "the claim", scripts.COMPLETE: "the completion"}.get(script)
        planned.pop(f"before {name}", int)()
        found = run(script, *arguments)
        planned.pop(f"after {name}", int)()
        return found

    monkeypatch.setattr(Script, "run", watched)
    return planned.__setitem__


def vouched() -> RedisContender:
    """The same store, for views that say rerun=True."""
    return replace(REDIS, policy=replace(REDIS.policy, rerun=True))


class TestRedisIsKilled:
    """And comes back with what it had on its disk."""

    @pytest.mark.parametrize("step", STEPS)
    def test_with_a_durable_log_no_key_runs_twice(self, own, at, step):
        server, asked, work = own(*EVER), operation(), Work()
        at(step, server.kill)
        first = code(REDIS.run(asked, work))
        server.start()
        again = code(REDIS.run(asked, work))
        assert (first, again, work.runs) == {
            "before the claim": ("store-unavailable", "Completed", 1),
            "after the claim": ("outcome-unknown", "in-flight", 1),
            "before the completion": ("outcome-unknown", "in-flight", 1),
            "after the completion": ("Completed", "Replay", 1),
        }[step]

    @pytest.mark.parametrize("step", STEPS)
    def test_without_one_what_was_claimed_is_forgotten_and_runs_again(self, own, at, step):
        """As the documentation says."""
        server, asked, work = own(), operation(), Work()
        at(step, server.kill)
        REDIS.run(asked, work)
        server.start()
        assert code(REDIS.run(asked, work)) == "Completed"
        assert work.runs == (1 if step == "before the claim" else 2)

    @pytest.mark.parametrize("step", ["after the claim", "before the completion"])
    def test_what_may_run_twice_is_told_to_come_again(self, own, at, step):
        server, asked = own(*EVER), operation()
        at(step, server.kill)
        assert code(vouched().run(asked, Work())) == "store-unavailable"

    def test_a_restart_while_the_view_runs_is_not_noticed(self, own):
        server, asked = own(*EVER), operation()
        work = Work(server.restart)
        assert code(REDIS.run(asked, work)) == "Completed"
        assert REDIS.run(asked, work) == Replay(ANSWER)

    def test_a_view_that_failed_while_redis_was_away_is_in_doubt_when_its_lease_ends(self, own):
        server, asked = own(*EVER), operation()

        def fail() -> None:
            server.kill()
            raise RuntimeError("a bug in the view")

        with pytest.raises(RuntimeError):
            REDIS.run(asked, Work(fail))
        server.start()
        assert REDIS.state(asked) == "processing"
        REDIS.age(asked, HOUR)
        assert code(REDIS.run(asked, Work())) == "outcome-unknown"


class TestRedisIsFlushed:
    @pytest.mark.parametrize("step", STEPS)
    def test_the_answer_is_kept_unless_it_was_there_already(self, own, at, step):
        server, asked, work = own(), operation(), Work()
        at(step, lambda: server.ask("FLUSHALL"))
        assert code(REDIS.run(asked, work)) == "Completed"
        lost = step == "after the completion"
        assert code(REDIS.run(asked, work)) == ("Completed" if lost else "Replay")
        assert work.runs == (2 if lost else 1)

    def test_a_duplicate_that_comes_before_the_answer_runs(self, own):
        """As the documentation says. One of the two answers is kept."""
        server, asked, inner = own(), operation(), Work()

        def flushed() -> None:
            server.ask("FLUSHALL")
            assert code(REDIS.run(asked, inner)) == "Completed"

        assert REDIS.run(asked, Work(flushed)) == Replay(ANSWER)
        assert inner.runs == 1


class TestRepliesAreLost:
    """The server has executed what it was sent."""

    @pytest.fixture
    def proxy(self, own: Any, settings: Any) -> Iterator[Proxy]:
        server = own()
        proxy = Proxy("127.0.0.1", server.port)
        settings.CACHES = {**settings.CACHES, ALIAS: cache(f"redis://127.0.0.1:{proxy.port}/0")}
        REDIS.run(operation(), Work())  # so that it knows the scripts
        yield proxy
        proxy.close()

    @pytest.mark.parametrize("lost", ["answer", "commit"])
    @pytest.mark.parametrize("step", ["before the claim", "before the completion"])
    def test_one_reply_or_request_makes_no_difference(self, proxy, at, step, lost):
        asked, work = operation(), Work()
        at(step, lambda: proxy.lose(lost))
        assert code(REDIS.run(asked, work)) == "Completed"
        assert REDIS.run(asked, work) == Replay(ANSWER)
        assert work.runs == 1

    def test_nor_does_one_of_a_release(self, proxy):
        asked = operation()
        assert code(REDIS.run(asked, Work(lambda: proxy.lose("answer"), answer=None))) == "Released"
        assert code(REDIS.run(asked, Work())) == "Completed"

    def test_nor_does_one_of_a_takeover(self, proxy, at):
        asked, work = operation(), Work()
        REDIS.plant(asked, token=1)
        at("after the claim", lambda: proxy.lose("answer"))
        assert code(vouched().run(asked, work)) == "Completed"
        assert [claim.attempt for claim in work.claims] == [2]

    def test_a_claim_of_which_nothing_was_heard_frees_its_key_when_redis_answers(self, proxy, at):
        """It was claimed in Redis, and the client was told that nothing was kept."""
        asked, work = operation(), Work()
        at("before the claim", lambda: proxy.lose("answer and the database"))
        assert code(REDIS.run(asked, work)) == "store-unavailable"
        proxy.recover()
        assert REDIS.state(asked) in ("processing", None)
        until(lambda: REDIS.state(asked) is None)
        assert code(REDIS.run(asked, work)) == "Completed"
        assert [claim.attempt for claim in work.claims] == [2]

    def test_even_where_somebody_has_found_it_in_doubt_meanwhile(self, proxy, at, monkeypatch):
        asked, store = operation(), RedisBackend(REDIS.policy).leases()
        monkeypatch.setattr(store.unheard, "_free", int)
        at("before the claim", lambda: proxy.lose("answer and the database"))
        REDIS.run(asked, Work())
        proxy.recover()
        REDIS.age(asked, HOUR)
        (claim,) = [claim for claim in store.unheard._claims.values() if claim.operation.id == asked.id] or [None]
        assert code(REDIS.run(asked, Work())) == "outcome-unknown"
        store._never_ran(claim)
        assert code(REDIS.run(asked, Work())) == "Completed"

    def test_an_answer_of_which_nothing_was_heard_is_told_as_unknown_and_replayed(self, proxy, at):
        asked, work = operation(), Work()
        at("before the completion", lambda: proxy.lose("answer and the database"))
        assert code(REDIS.run(asked, work)) == "outcome-unknown"
        proxy.recover()
        assert REDIS.run(asked, work) == Replay(ANSWER)
        assert work.runs == 1


class TestRedisRefuses:
    def full(self, server: RedisServer) -> None:
        server.ask("CONFIG", "SET", "maxmemory", 1)

    def test_a_full_one_runs_nothing(self, own):
        work = Work()
        self.full(own("--maxmemory-policy", "noeviction"))
        assert code(REDIS.run(operation(), work)) == "store-unavailable"
        assert work.runs == 0

    def test_one_that_fills_meanwhile_leaves_the_outcome_unknown(self, own):
        server, asked = own("--maxmemory-policy", "noeviction"), operation()
        work = Work(lambda: self.full(server))
        assert code(REDIS.run(asked, work)) == "outcome-unknown"
        server.ask("CONFIG", "SET", "maxmemory", 0)
        assert code(REDIS.run(asked, work)) == "in-flight"
        assert work.runs == 1

    def test_a_replica_runs_nothing(self, own):
        work, server = Work(), own()
        server.ask("REPLICAOF", "127.0.0.1", server.port)
        assert code(REDIS.run(operation(), work)) == "store-unavailable"
        assert work.runs == 0

    def test_one_that_does_not_answer_runs_nothing(self, own, settings):
        server, work = own(), Work()
        brief = cache(server.url, SOCKET_TIMEOUT=0.2, SOCKET_CONNECT_TIMEOUT=0.2)
        settings.CACHES = {**settings.CACHES, ALIAS: brief}
        server.pause()
        assert code(REDIS.run(operation(), work)) == "store-unavailable"
        assert work.runs == 0

    def test_a_cache_that_hides_its_errors_hides_none_of_them(self, own, settings):
        server, work = own(), Work()
        settings.CACHES = {**settings.CACHES, ALIAS: cache(server.url, IGNORE_EXCEPTIONS=True)}
        server.kill()
        assert code(REDIS.run(operation(), work)) == "store-unavailable"
        assert work.runs == 0


def dies(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class TestNobodyWasTold:
    """Whoever has found an outcome unknown dies before the staff is told: the next request tells it."""

    def left(self, asked: Any, view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let a process die where it writes the incident."""
        with monkeypatch.context() as patch:
            patch.setattr("django_idempotency.incidents.report", dies)
            worker = multiprocessing.get_context("fork").Process(target=REDIS.run, args=(asked, Work(view)))
            worker.start()
            worker.join()
        assert (worker.exitcode, REDIS.state(asked), told()) == (-signal.SIGKILL, "unknown", [])

    @pytest.fixture(params=["a lease that had run out", "a view that had raised"])
    def asked(self, request: Any, own: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        own()
        asked = operation()
        if request.param == "a lease that had run out":
            REDIS.plant(asked, token=1)
        self.left(asked, lambda: {}["a bug"], monkeypatch)
        return asked

    def test_the_next_request_tells_the_staff_once(self, asked):
        REDIS.age(asked, HOUR)
        assert [code(REDIS.run(asked, Work())) for _ in range(3)] == ["outcome-unknown"] * 3
        assert told() == [("unknown", 1)]
        REDIS.age(asked, HOUR)
        REDIS.run(asked, Work())
        assert told() == [("unknown", 1)]

    def test_but_not_while_another_may_be_about_to_tell_it(self, asked):
        assert code(REDIS.run(asked, Work())) == "outcome-unknown"
        assert told() == []

    def test_a_database_that_was_away_is_told_later(self, asked, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("django_idempotency.incidents._upsert", lambda *_: {}["away"])
            REDIS.age(asked, HOUR)
            assert code(REDIS.run(asked, Work())) == "outcome-unknown"
        REDIS.age(asked, HOUR)
        REDIS.run(asked, Work())
        assert told() == [("unknown", 1)]

    def test_an_answer_does_not_wait_for_it_where_redis_is_full(self, asked, own):
        server = own.started[0]
        REDIS.age(asked, HOUR)
        server.ask("CONFIG", "SET", "maxmemory", 1)
        assert code(REDIS.run(asked, Work())) == "outcome-unknown"
        assert told() == [("unknown", 1)]


def told() -> list[tuple[str, int]]:
    return list(IdempotencyIncident.objects.values_list("kind", "counter"))


class TestWorkerIsKilled:
    def killed_in(self, asked: Any) -> None:
        """Let a process die while the view runs in it."""
        fork = multiprocessing.get_context("fork")
        running, never = fork.Event(), fork.Event()
        worker = fork.Process(target=REDIS.run, args=(asked, Work(lambda: (running.set(), never.wait(PATIENCE * 4)))))
        worker.start()
        assert running.wait(PATIENCE)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()

    def test_its_outcome_is_unknown_when_its_lease_ends(self, own):
        own()
        asked, work = operation(), Work()
        self.killed_in(asked)
        assert code(REDIS.run(asked, work)) == "in-flight"
        REDIS.age(asked, HOUR)
        assert [code(REDIS.run(asked, work)) for _ in range(2)] == ["outcome-unknown"] * 2
        assert work.runs == 0

    def test_what_may_run_twice_runs_again(self, own):
        own()
        asked, work = operation(), Work()
        self.killed_in(asked)
        REDIS.age(asked, HOUR)
        assert code(vouched().run(asked, work)) == "Completed"
        assert [claim.attempt for claim in work.claims] == [2]
