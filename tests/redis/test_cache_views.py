"""Every kind of protected work is answered from the cache, with all that belongs to an answer."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import connection, connections
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_idempotency import Respond, heartbeats, idempotent, operation, signals
from django_idempotency.exceptions import KeyReused
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.replays import fills
from django_idempotency.testing import expire_answer, forget_key
from tests.support.kinds import EVERY_KIND
from tests.support.threads import PATIENCE
from tests.test_holes import effects, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cache")]


@contextmanager
def without_a_statement():
    """Nothing of ours is asked of the database."""
    with CaptureQueriesContext(connection) as queries:
        yield
    assert [query["sql"] for query in queries if "idempotency" in query["sql"]] == []


def entry(cache: Any) -> Any:
    record_id = IdempotencyRecord.objects.values_list("pk", flat=True).get()
    return cache.get(fills.place("replays", "default", record_id).entry)


@pytest.mark.parametrize("path", EVERY_KIND)
def test_a_view_of_every_kind_is_replayed_from_the_cache(path, key):
    body = {"amount": 5, "key": key, "nonce": "given"}
    first, _ = post(path, body, key=key), post(path, body, key=key)
    with without_a_statement():
        again = post(path, body, key=key)
    assert (again.status_code, again.content, effects(key)) == (201, first.content, 1)
    assert (again.headers["Idempotent-Replayed"], again.headers["Cache-Control"]) == ("true", "no-store")


def test_another_request_is_told_to_the_staff_as_ever(key):
    post("/plain/pay", key=key)
    post("/plain/pay", key=key)
    refused = post("/plain/pay", {"amount": 6}, key=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "key-reused")
    assert IdempotencyIncident.objects.get().kind == "mismatch"


def test_who_is_no_longer_authorized_gets_no_replay(key):
    for _ in range(2):
        post("/plain/guarded", key=key)
    assert post("/plain/guarded", key=key, X_Test_Banned="1").status_code == 403


def test_observers_hear_of_a_replay_and_of_a_refusal(key):
    heard: list[str] = []

    def replayed(**_: Any) -> None:
        heard.append("replayed")

    def rejected(error: Any, **_: Any) -> None:
        heard.append(error.code)

    signals.replayed.connect(replayed)
    signals.rejected.connect(rejected)
    try:
        for amount in (5, 5, 5, 6):
            post("/plain/pay", {"amount": amount}, key=key)
    finally:
        signals.replayed.disconnect(replayed)
        signals.rejected.disconnect(rejected)
    assert heard == ["replayed", "replayed", "key-reused"]


def test_an_answer_to_one_user_is_not_anothers(key):
    for _ in range(3):
        mine = post("/plain/pay", key=key, user=1)
    theirs = post("/plain/pay", key=key, user=2)
    assert "Idempotent-Replayed" in mine.headers
    assert "Idempotent-Replayed" not in theirs.headers


@pytest.mark.parametrize(("age", "status"), [(expire_answer, 412), (forget_key, 201)])
def test_a_project_can_let_its_keys_expire_in_its_own_tests(key, age, status):
    for _ in range(3):
        post("/plain/pay", key=key)
    age(key)
    assert post("/plain/pay", key=key).status_code == status


class TestAtomicRequests:
    @pytest.fixture(autouse=True)
    def _atomic_requests(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    def test_a_replay_fills_the_cache_after_the_requests_transaction(self, key, cache):
        first, _ = post("/plain/pay", key=key), post("/plain/pay", key=key)
        assert entry(cache) is not None
        with without_a_statement():
            assert post("/plain/pay", key=key).content == first.content

    def test_a_view_that_swallowed_an_error_of_the_database_leaves_no_answer(self, key, cache):
        """It may have answered 201 by itself, and what it wrote is rolled back."""
        asked = {"amount": 5, "then": "swallowed integrity error"}
        assert [post("/plain/pay", asked, key=key).status_code for _ in range(2)] == [500, 500]
        assert (effects(key), list(cache.scan_iter("*"))) == (0, [])


@pytest.fixture
def _quiet_heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The thread of signs of life ends, with its connection, before the next test."""
    monkeypatch.setattr(heartbeats, "IDLE", 0.02)
    yield
    for thread in threading.enumerate():
        if thread.name == "idempotency-heartbeat":
            thread.join(PATIENCE)


class TestOtherWork:
    def request(self, factory: Any, amount: int = 5) -> Any:
        body = json.dumps({"amount": amount})
        return factory.post("/pay", body, content_type="application/json", headers={"Idempotency-Key": "abc"})

    def test_a_coroutine_view(self, cache):
        runs = []

        @idempotent(rerun=True)
        async def pay(request: Any) -> HttpResponse:
            runs.append(1)
            return HttpResponse(b"paid", status=201)

        async def ask() -> bytes:
            async with ThreadSensitiveContext():
                answer = await pay(self.request(AsyncRequestFactory()))
                await sync_to_async(connections.close_all)()
            return answer.content

        answers = [asyncio.run(ask()), asyncio.run(ask())]
        assert entry(cache) is not None
        IdempotencyRecord.objects.all().delete()
        assert [*answers, asyncio.run(ask())] == [b"paid"] * 3
        assert len(runs) == 1

    @pytest.mark.usefixtures("_quiet_heart")
    def test_a_durable_operation(self):
        runs = []

        @operation(name="of the cache")
        def pay(op: Any, amount: int) -> Respond:
            runs.append(1)
            return Respond(201, {"amount": amount})

        def ask() -> HttpResponse:
            return pay.respond(self.request(RequestFactory()), amount=5)

        first, _ = ask(), ask()
        with without_a_statement():
            assert ask().content == first.content
        assert pay.run(key="k", amount=5) == pay.run(key="k", amount=5) == Respond(201, {"amount": 5})
        with without_a_statement():
            assert pay.run(key="k", amount=5) == Respond(201, {"amount": 5})
        with pytest.raises(KeyReused):
            pay.run(key="k", amount=6)
        assert len(runs) == 2

    def test_a_task(self):
        pytest.importorskip("celery", reason="without Celery")
        from django_idempotency.tasks import idempotent_task

        runs = []

        @idempotent_task(key="{order}", name="tests.redis.pay")
        def pay(order: int) -> int:
            runs.append(order)
            return order

        assert [pay.apply(args=[7]).get() for _ in range(2)] == [7, 7]
        with without_a_statement():
            assert pay.apply(args=[7]).get() == 7
        assert runs == [7]

    def test_what_authorize_refuses_is_refused_with_an_answer_in_the_cache(self):
        allowed = [True, True, False]

        @idempotent(authorize=lambda request: allowed.pop(0))
        def pay(request: Any) -> HttpResponse:
            return HttpResponse(b"paid")

        for _ in range(2):
            pay(self.request(RequestFactory()))
        with pytest.raises(PermissionDenied):
            pay(self.request(RequestFactory()))
