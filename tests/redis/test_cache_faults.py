"""A Redis that is gone, slow, full, read-only or forgetful makes requests slower, and changes nothing else."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from redis import Redis
from redis.client import Pipeline

from django_idempotency.core.engine import Operation, Replay
from django_idempotency.core.policies import Policy
from django_idempotency.erasure import erase
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.models import IdempotencyRecord
from django_idempotency.replays import breakers, fills
from tests.redis.conftest import cached
from tests.redis.test_cache import completed, remembered, served
from tests.support.contenders import ANSWER, Work, code, operation
from tests.support.redis_servers import RedisServer
from tests.support.threads import Stage, running

pytestmark = pytest.mark.django_db(transaction=True)

POLICY = Policy(cache="replays", join_timeout=timedelta(0))


@pytest.fixture
def server(own_redis: RedisServer) -> Iterator[RedisServer]:
    breakers.breaker.cache_clear()
    with cached(own_redis):
        yield own_redis


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once, instead of leaving a cache alone that has failed."""
    monkeypatch.setattr(breakers, "PAUSE", 0.0)


def counted(key: str = "", **asked: Any) -> Operation:
    """An operation whose scope has a limit."""
    return replace(operation(key, **asked), max_live_keys=1000)


def all_is_well() -> None:
    """A request runs once, its duplicates are given its answer, and another one is refused."""
    asked, work = counted(), Work()
    outcomes = [code(served(POLICY, asked, work)) for _ in range(4)]
    assert (outcomes, work.runs) == (["Completed", "Replay", "Replay", "Replay"], 1)
    assert code(served(POLICY, counted(asked.key, body=b"amount=6"))) == "key-reused"
    assert code(served(POLICY, counted(), Work(answer=None))) == "Released"


def full(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1")


def read_only(server: RedisServer) -> None:
    server.ask("REPLICAOF", "127.0.0.1", "1")


def locked(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)


FAULTS: dict[str, Callable[[RedisServer], object]] = {
    "dead": RedisServer.kill,
    "stopped": RedisServer.pause,
    "full": full,
    "read-only": read_only,
    "locked": locked,
}


@pytest.mark.usefixtures("impatient")
class TestFaults:
    @pytest.fixture(params=FAULTS)
    def fault(self, request: pytest.FixtureRequest) -> Callable[[RedisServer], object]:
        return FAULTS[request.param]

    def test_requests_go_on_when_it_comes(self, server, fault):
        all_is_well()
        known = remembered(POLICY)
        fault(server)
        all_is_well()
        assert served(POLICY, known) == Replay(ANSWER)

    def test_answers_can_be_erased(self, server, fault, caplog):
        asked = completed(POLICY)
        fault(server)
        with caplog.at_level(logging.ERROR, "django_idempotency"):
            assert erase("user:1").records == 1
        assert IdempotencyRecord.objects.get(pk=asked.id).body is None
        assert "could not be taken out of the cache 'replays'" in caplog.text

    @pytest.mark.parametrize("ignoring", [True, False])
    def test_ignored_exceptions_change_nothing(self, own_redis, ignoring):
        with cached(own_redis, IGNORE_EXCEPTIONS=ignoring):
            all_is_well()
            own_redis.kill()
            all_is_well()

    def test_a_restart_is_noticed(self, server):
        asked = remembered(POLICY)
        server.restart()
        all_is_well()
        assert served(POLICY, asked) == Replay(ANSWER)
        assert server.ask("EXISTS", fills.place("replays", "default", asked.id).entry) == 1

    def test_all_of_it_flushed_between_any_two_requests_is_only_slower(self, server, monkeypatch):
        plain = fills.client

        def forgetful(alias: str) -> Any:
            server.ask("FLUSHALL")
            return plain(alias)

        monkeypatch.setattr(fills, "client", forgetful)
        all_is_well()


class Steps:
    """Counts the commands of a test, and does something just before, or just after, one of them."""

    def __init__(self, act: Callable[[], object], at: int, *, after: bool) -> None:
        self.act, self.at, self.after = act, at, after
        self.number = 0

    def around(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def execute(*arguments: Any, **options: Any) -> Any:
            self.number += 1
            here = self.number == self.at
            if here and not self.after:
                self.act()
            answer = plain(*arguments, **options)
            if here and self.after:
                self.act()
            return answer

        return execute


@pytest.mark.usefixtures("impatient")
class TestEveryStep:
    """Whatever becomes of Redis before or after any one of the commands."""

    def life(self) -> None:
        """A request with all that can happen to it."""
        all_is_well()
        asked = remembered(POLICY)
        stage = Stage()
        other = counted()
        with running(lambda: served(POLICY, other, Work(stage.enter)), stage):
            assert {code(served(POLICY, other)) for _ in range(2)} == {"in-flight"}
        assert erase("user:1").records > 0
        assert served(POLICY, asked).snapshot.body is None

    def lived(self, monkeypatch: pytest.MonkeyPatch, steps: Steps) -> int:
        """Live through it; how many commands there were."""
        with monkeypatch.context() as patch:
            patch.setattr(Redis, "execute_command", steps.around(Redis.execute_command))
            patch.setattr(Pipeline, "execute", steps.around(Pipeline.execute))
            self.life()
        return steps.number

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_a_flush(self, server, monkeypatch, after):
        with server.client() as outside:
            # Not counted: the method as it is now.
            flush = partial(Redis.execute_command, outside, "FLUSHALL")
            commands = self.lived(monkeypatch, Steps(flush, 0, after=after))
            for step in range(1, commands + 1):
                self.lived(monkeypatch, Steps(flush, step, after=after))
        assert commands > 20

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_a_kill(self, server, monkeypatch, after):
        commands = self.lived(monkeypatch, Steps(int, 0, after=after))
        for step in range(1, commands + 1, 2):
            self.lived(monkeypatch, Steps(server.kill, step, after=after))
            server.restart()


class Swallowing:
    """A proxy that passes on what Redis is told, and loses the next answer of those that it is told to lose."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.losing = b""
        self.lost = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def cache(self) -> dict[str, Any]:
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{self.port}/0",
            "OPTIONS": {},
        }

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            while asked := client.recv(65536):
                server.sendall(asked)
                answer = server.recv(65536)
                if self.losing and self.losing in asked:
                    self.losing, self.lost = b"", self.lost + 1
                    return
                client.sendall(answer)

    def close(self) -> None:
        self.listener.close()


@pytest.mark.usefixtures("impatient")
class TestLostReplies:
    @pytest.fixture
    def proxy(self, redis_server: RedisServer) -> Iterator[Any]:
        proxy: Any = Swallowing(redis_server.port)
        redis_server.ask("FLUSHALL")
        breakers.breaker.cache_clear()
        with cached(proxy):
            yield proxy
        proxy.close()

    @pytest.mark.parametrize("command", [b"GET", b"SET", b"EVALSHA", b"ZREM"])
    def test_what_redis_has_done_and_not_said_changes_nothing(self, proxy, command):
        all_is_well()
        proxy.losing = command
        all_is_well()
        assert proxy.lost == 1
        all_is_well()


class TestBreaker:
    def breaker(self) -> tuple[breakers.Breaker, list[float]]:
        now = [100.0]
        return breakers.Breaker("replays", clock=lambda: now[0]), now

    def test_a_cache_that_has_failed_is_left_alone_for_a_second(self):
        breaker, now = self.breaker()
        assert breaker.closed()
        breaker.failed(StoreUnavailable())
        assert not breaker.closed()
        now[0] += breakers.PAUSE
        assert breaker.closed()

    def test_after_the_pause_one_tries_and_the_others_wait_for_what_comes_of_it(self):
        breaker, now = self.breaker()
        breaker.failed(StoreUnavailable())
        now[0] += breakers.PAUSE
        assert [breaker.closed() for _ in range(3)] == [True, False, False]
        breaker.worked()
        assert [breaker.closed() for _ in range(3)] == [True, True, True]

    def test_it_is_said_once_a_minute(self, caplog):
        breaker, now = self.breaker()
        for _ in range(100):
            now[0] += 1.0
            breaker.failed(StoreUnavailable())
        assert len(caplog.records) == 2

    def test_a_stopped_redis_costs_one_request_its_time_out(self, server, monkeypatch):
        asked = completed(POLICY)
        server.pause()
        tried = []
        plain = breakers.Breaker.failed
        monkeypatch.setattr(breakers, "PAUSE", 60.0)
        monkeypatch.setattr(breakers.Breaker, "failed", lambda self, error: (tried.append(1), plain(self, error)))
        assert {served(POLICY, asked) for _ in range(10)} == {Replay(ANSWER)}
        assert len(tried) == 1


def test_a_forked_process_has_connections_of_its_own(server):
    asked = remembered(POLICY)
    if (child := os.fork()) == 0:
        os._exit(0 if fills.client("replays").get(fills.place("replays", "default", asked.id).entry) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert served(POLICY, asked) == Replay(ANSWER)
