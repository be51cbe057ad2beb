"""One request, sent in every way in which it could take effect twice."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, Protocol, TypeVar

from django.db import connections

from .. import conf
from .crashes import Crash, Moment, abandon, crash
from .retention import databases

DOCUMENTATION = "https://django-idempotency.readthedocs.io/en/stable/howto/testing-your-views.html"
PATIENCE = 30.0
"""Seconds after which parallel requests that have not come to their start are given up."""

Result = TypeVar("Result")


class Answer(Protocol):
    """What is looked at of an answer; the test clients of Django and DRF, requests and httpx all have it."""

    @property
    def status_code(self) -> int: ...
    @property
    def content(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


OUTSIDE = (
    "What the dead attempt did is still there, so it was done outside the transaction of the view: in another database, at "
    "a gateway, in a file. Send request.idempotency.derive() along, or do it in the database of the records."
)
LOST: dict[Moment, str] = {
    "before": "Something that the dead attempt left behind, in a cache or in memory, keeps the retry from doing the work.",
    "after": "The answer is kept and the effect is not. What is put off with on_commit is lost when the process dies.",
}


class Rounds:
    """The same request again and again, each round under a key of its own."""

    def __init__(self, send: Callable[[str], Answer], effects: Callable[[], int]) -> None:
        self.send = send
        self.effects = effects
        self.first: Any = None
        self.once = 0
        """What effects() rises by when the request is sent and nothing goes wrong."""

    def twice(self) -> None:
        key, before = str(uuid.uuid4()), self.effects()
        self.first = self.send(key)
        self.once = self.effects() - before
        if self.once < 1:
            _fail(
                f"The first request took no effect: effects() went from {before} to {before + self.once}, "
                f"and the answer was {_shown(self.first)}",
                "Either the request was refused, or effects() does not count what the view does.",
                "no-effect",
            )
        again = self.send(key)
        self._refuse_second_effect(again, self.effects() - before)
        if not _same(self.first, again):
            _fail(
                f"The repeat got another answer than the first request: {_shown(again)} after {_shown(self.first)}",
                "send() must send the same request whenever it is called with the same key; if it does, the view ran again.",
                "another-answer",
            )
        if not _is_replay(again):
            _fail(
                "The repeat got the first answer, but not as a replay: it has no Idempotent-Replayed header.",
                "Something other than @idempotent has answered, a cache or the view itself.",
                "no-replay",
            )

    def _refuse_second_effect(self, again: Answer, total: int) -> None:
        if total == self.once:
            return
        if _is_replay(again):
            why = "The repeat was a replay, so the effect comes from outside the view, such as a middleware."
        elif self.first.status_code >= 400:
            why = f"An answer with status {self.first.status_code} may not be kept; the view then runs on every repeat."
        else:
            why = "Is @idempotent on the method that does the work, and does send() send the key that it is given?"
        _fail(f"The repeat took effect again: {self._counted(total)}", why, "ran-again")

    def at_once(self, count: int) -> None:
        key, before = str(uuid.uuid4()), self.effects()
        answers = together(count, lambda: self.send(key))
        last = self.send(key)
        total = self.effects() - before
        if total != self.once:
            _fail(
                f"{count} requests at once under one key, and one more: {self._counted(total)}",
                "Something lets two of them through, such as a look-up before the claim, or lets none.",
                "at-once",
            )
        if last.status_code != self.first.status_code:
            _fail(
                f"{count} requests at once, and one more, which should have got the answer, got {_shown(last)}",
                "When the first has ended, whoever was refused must get its answer.",
                "at-once",
            )
        for answer in answers:
            if answer.status_code != 409 and not _same(answer, last):
                _fail(
                    f"{count} requests at once got different answers: {_shown(answer)} beside {_shown(last)}",
                    "Each must get the one answer, or 409 while the first is running.",
                    "at-once",
                )

    def crashing(self, moment: Moment) -> None:
        key, before = str(uuid.uuid4()), self.effects()
        with crash(moment) as staged:
            try:
                self.send(key)
            except (Crash, Exception):
                # A client of a live server knows a lost answer by an exception of its own.
                if not staged.happened:
                    raise
        if staged.operation is None or not staged.happened:
            _fail(
                "The crash could not be staged: the request committed no transaction together with its answer.",
                "That is so with MemoryBackend and RedisBackend, with coroutine views and with a server in another process: "
                "pass crashes=False there.",
                "no-crash",
            )
        survived = self.effects() - before
        abandon(staged.operation)
        self._judge_retry(moment, self.send(key), survived=survived, total=self.effects() - before)

    def _judge_retry(self, moment: Moment, retry: Answer, *, survived: int, total: int) -> None:
        crashed = f"The process died {moment} the commit, and the request was sent again: {self._counted(total)}"
        if total > self.once:
            _fail(f"{crashed}; {survived} outlived the crash.", OUTSIDE, "outside-the-transaction")
        if total < self.once:
            _fail(f"{crashed}.", LOST[moment], "lost")
        if retry.status_code != self.first.status_code or (moment == "after" and not _is_replay(retry)):
            _fail(f"{crashed}. The retry got {_shown(retry)}", "It should have got the answer.", "no-answer")

    def _counted(self, total: int) -> str:
        return f"effects() rose by {total}, where one request alone makes {self.once}"


def together(count: int, call: Callable[[], Result]) -> list[Result]:
    """What so many calls return that start at one moment, each in a thread with connections of its own."""
    start = threading.Barrier(count)

    def run() -> Result:
        start.wait(PATIENCE)
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run) for _ in range(count)]
    return [future.result() for future in futures]


def refuse_test_case() -> None:
    if any(connections[alias].in_atomic_block for alias in connections):
        _fail(
            "This test runs inside a transaction, where requests can neither run in parallel nor die at their commit.",
            "Use TransactionTestCase or @pytest.mark.django_db(transaction=True); or pass parallel=0, crashes=False, which "
            "leaves the two requests one after the other.",
            "test-case",
        )


def refuse_memory() -> None:
    for alias in databases():
        connection: Any = connections[alias]
        if connection.vendor == "sqlite" and connection.is_in_memory_db():
            _fail(
                f"Database {alias!r} is SQLite in memory, which cannot serve requests in parallel.",
                f"Give it a file in the tests, DATABASES[{alias!r}]['TEST'] = {{'NAME': ...}}, or pass parallel=0.",
                "sqlite-in-memory",
            )


def _same(one: Answer, other: Answer) -> bool:
    return (one.status_code, one.content) == (other.status_code, other.content)


def _is_replay(answer: Answer) -> bool:
    markers = {conf.get_policy(profile).replayed_header for profile in conf.profiles()}
    return any(answer.headers.get(marker) == "true" for marker in markers)


def _shown(answer: Answer) -> str:
    return f"{answer.status_code} {answer.content[:200].decode(errors='replace')}"


def _fail(what: str, why: str, anchor: str) -> NoReturn:
    raise AssertionError(f"{what}\n{why}\nRead on: {DOCUMENTATION}#{anchor}")
