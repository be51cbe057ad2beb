"""Views under RedisBackend: what their clients are answered, what the staff is told, what their authors are warned of."""

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connections, transaction
from django.http import Http404, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from django_idempotency import Kept, idempotent, operation, signals
from django_idempotency.backends.redis.connections import client
from django_idempotency.exceptions import StoreUnavailable
from django_idempotency.heartbeats import OF_REDIS, PULSE
from django_idempotency.models import IdempotencyIncident
from django_idempotency.testing import assert_runs_once
from tests.bank.models import Payment
from tests.support.redis_contender import ALIAS, REDIS, server
from tests.support.redis_servers import until

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = "django_idempotency.backends.RedisBackend"
FERNET = "8SPPZ2G6Zc4Yj2JvIYxkB4Zcqcl6J3bYdV2Bf0ZpQnA="


@pytest.fixture(autouse=True)
def redis(settings: Any) -> None:
    REDIS.ready(settings)
    settings.IDEMPOTENCY = profile()


def profile(**chosen: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": BACKEND, "CACHE": ALIAS, **chosen}}


class View:
    """A view that does one thing, and counts how often."""

    def __init__(self, act: Any, **choices: Any) -> None:
        self.runs = 0
        self.attempts: list[int] = []

        @idempotent(**choices)
        def view(request: Any) -> Any:
            self.runs += 1
            self.attempts.append(request.idempotency.attempt)
            if isinstance(act, BaseException):
                raise act
            return act(request) if callable(act) else HttpResponse("paid", status=act)

        self.view = view

    def post(self, body: str = "5") -> Any:
        headers = {"Idempotency-Key": "k"}
        return self.view(RequestFactory().post("/pay", body, content_type="text/plain", headers=headers))


def problem(response: Any) -> str:
    return str(json.loads(response.content)["code"])


def kinds() -> list[str]:
    return sorted(IdempotencyIncident.objects.values_list("kind", flat=True))


class TestAnswers:
    def test_the_first_one_is_replayed(self):
        view = View(201)
        first, again = view.post(), view.post()
        assert (again.content, again["Idempotent-Replayed"], view.runs) == (first.content, "true", 1)

    @pytest.mark.parametrize("status", [400, 409, 503])
    def test_one_that_is_not_kept_frees_the_key(self, status):
        view = View(status)
        assert [view.post().status_code for _ in range(2)] == [status] * 2
        assert view.attempts == [1, 2]

    def test_one_that_is_kept_from_deep_inside_is_replayed(self):
        view = View(Kept(HttpResponse("declined", status=402)))
        assert [view.post().status_code for _ in range(2)] == [402, 402]
        assert view.runs == 1

    @pytest.mark.parametrize("error", [Http404(), PermissionDenied()])
    def test_one_that_is_raised_frees_the_key(self, error):
        view = View(error)
        for _ in range(2):
            with pytest.raises(type(error)):
                view.post()
        assert (view.runs, kinds()) == (2, [])

    @pytest.mark.parametrize("error", [RuntimeError("a bug"), SystemExit(1)])
    def test_after_anything_else_the_outcome_is_unknown_and_the_staff_is_told(self, error):
        view = View(error)
        with pytest.raises(type(error)):
            view.post()
        assert problem(view.post()) == "outcome-unknown"
        assert (view.runs, kinds()) == (1, ["unknown"])
        assert IdempotencyIncident.objects.get().error == type(error).__name__

    def test_what_may_run_twice_runs_again_and_the_staff_is_told(self):
        view = View(RuntimeError("a bug"), rerun=True)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                view.post()
        assert (view.attempts, kinds()) == ([1, 2], ["failed"])

    def test_a_store_that_the_view_itself_could_not_reach_is_no_reason_to_come_again(self):
        view = View(StoreUnavailable())
        assert [problem(view.post()) for _ in range(2)] == ["outcome-unknown"] * 2
        assert view.runs == 1

    def test_encrypted_ones_cannot_be_read_in_redis(self, settings):
        pytest.importorskip("cryptography")
        settings.IDEMPOTENCY = profile(ENCRYPTION_KEYS=[FERNET])
        view = View(lambda _: HttpResponse("a secret of the client's", status=201))
        assert [view.post().content for _ in range(2)] == [b"a secret of the client's"] * 2
        assert "secret" not in str([client(ALIAS).dump(key) for key in client(ALIAS).keys("*")])


class TestSignals:
    def test_a_key_in_doubt_is_not_said_to_be_released(self):
        heard: list[Any] = []
        signals.released.connect(lambda error, **_: heard.append(type(error)), weak=False, dispatch_uid="redis")
        for act in (RuntimeError("a bug"), Http404()):
            with pytest.raises((RuntimeError, Http404)):
                View(act).post(str(act))
            client(ALIAS).flushall()
        signals.released.disconnect(dispatch_uid="redis")
        assert heard == [Http404]


class TestIncidents:
    def test_a_mismatch_is_one_row_however_many_there_are(self):
        view = View(201)
        view.post()
        assert [problem(view.post(f"{amount}")) for amount in range(3)] == ["key-reused"] * 3
        assert kinds() == ["mismatch"]

    def test_a_returned_failure_is_told(self):
        View(503).post()
        assert kinds() == ["failed"]

    def test_a_lapsed_lease_is_told(self):
        view = View(201)
        view.post()
        (key,) = (key for key in client(ALIAS).keys("*") if not key.endswith(b":answer"))
        client(ALIAS).hset(key, mapping={"state": "processing", "lease_until": 1})
        client(ALIAS).hdel(key, "expires_at", "forget_at")
        assert problem(view.post()) == "outcome-unknown"
        assert kinds() == ["unknown"]


class TestHeartbeat:
    def test_a_lease_is_extended_while_the_view_runs(self, settings):
        settings.IDEMPOTENCY = profile(LEASE=timedelta(seconds=1))

        def beating() -> bool:
            return bool(OF_REDIS._hearts) and not PULSE._hearts

        def lease() -> int:
            (key,) = client(ALIAS).keys("*")
            return int(client(ALIAS).hget(key, "lease_until"))

        def extended(_: Any) -> HttpResponse:
            assert beating()
            first = lease()
            until(lambda: lease() > first + 200)
            return HttpResponse(status=201)

        assert View(extended).post().status_code == 201

    def test_one_that_was_lost_is_told(self, settings, caplog):
        settings.IDEMPOTENCY = profile(LEASE=timedelta(seconds=1))

        def taken(_: Any) -> HttpResponse:
            (key,) = client(ALIAS).keys("*")
            client(ALIAS).hset(key, "claim", 1)
            until(lambda: "was lost while its view was running" in caplog.text)
            return HttpResponse(status=201)

        assert View(taken).post().status_code == 409


class TestCoroutines:
    def post(self, view: Any) -> Any:
        async def main() -> Any:
            async with ThreadSensitiveContext():
                try:
                    return await view(AsyncRequestFactory().post("/pay", headers={"Idempotency-Key": "k"}))
                finally:
                    # In the thread of this context, where incidents were written.
                    await sync_to_async(connections.close_all)()

        return asyncio.run(main())

    def test_the_first_answer_is_replayed(self):
        runs = []

        @idempotent
        async def pay(request: Any) -> HttpResponse:
            runs.append(request.idempotency.attempt)
            return HttpResponse("paid", status=201)

        assert [self.post(pay).content for _ in range(2)] == [b"paid"] * 2
        assert runs == [1]

    def test_after_an_error_the_outcome_is_unknown(self):
        @idempotent
        async def pay(request: Any) -> HttpResponse:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            self.post(pay)
        assert problem(self.post(pay)) == "outcome-unknown"
        assert kinds() == ["unknown"]

    def test_commit_is_refused(self):
        @idempotent
        async def pay(request: Any) -> Any:
            return await request.idempotency.commit(lambda: HttpResponse(status=201))

        with pytest.raises(ImproperlyConfigured, match="no transaction has both"):
            self.post(pay)


class TestRefused:
    def test_a_request_inside_a_transaction_takes_no_claim(self):
        view = View(201)
        with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
            view.post()
        assert (view.runs, client(ALIAS).keys("*")) == (0, [])

    def test_nor_does_one_without_autocommit(self):
        view = View(201)
        transaction.set_autocommit(False)
        try:
            with pytest.raises(ImproperlyConfigured, match="non_atomic_requests"):
                view.post()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert (view.runs, client(ALIAS).keys("*")) == (0, [])

    def test_what_the_view_has_written_stays_written(self):
        """As the documentation says."""

        def pay(_: Any) -> HttpResponse:
            Payment.objects.create(key="k", amount=5)
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            View(pay).post()
        assert Payment.objects.count() == 1

    def test_a_profile_without_a_cache_runs_nothing(self, settings):
        settings.IDEMPOTENCY = profile(CACHE=None)
        view = View(201)
        with pytest.raises(ImproperlyConfigured, match="needs a CACHE"):
            view.post()
        assert view.runs == 0

    def test_a_durable_operation_takes_no_claim(self):
        @operation
        def pay(op: Any) -> None:
            raise AssertionError

        with pytest.raises(ImproperlyConfigured, match="DatabaseBackend"):
            pay.respond(RequestFactory().post("/pay", headers={"Idempotency-Key": "k"}))
        assert client(ALIAS).keys("*") == []


class TestAssertRunsOnce:
    def test_it_passes_without_crashes_and_says_that_it_takes_that(self):
        runs: list[str] = []

        def pay(request: Any) -> HttpResponse:
            runs.append(request.idempotency.key)
            return HttpResponse("paid", status=201)

        view = View(pay).view

        def send(key: str) -> Any:
            return view(RequestFactory().post("/pay", headers={"Idempotency-Key": key}))

        assert_runs_once(send, effects=lambda: len(runs), crashes=False)
        with pytest.raises(AssertionError, match=r"RedisBackend[^.]*crashes=False"):
            assert_runs_once(send, effects=lambda: len(runs))


class TestWithoutDatabase:
    CODE = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="not secret", INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_idempotency"],
    CACHES={CACHES}, IDEMPOTENCY={IDEMPOTENCY},
)
django.setup()
from django.http import HttpResponse
from django.test import RequestFactory
from django_idempotency import idempotent

@idempotent
def pay(request):
    if request.body == b"fail":
        raise RuntimeError
    return HttpResponse("paid", status=201)

def post(key, body):
    return pay(RequestFactory().post("/pay", body, content_type="text/plain", headers=dict([("Idempotency-Key", key)])))

first, again, other = post("k", "5"), post("k", "5"), post("k", "6")
assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
assert other.status_code == 422
try:
    post("f", "fail")
except RuntimeError:
    assert post("f", "fail").status_code == 409
"""

    def test_nothing_else_than_redis_is_needed(self):
        caches = {ALIAS: server().cache}
        code = self.CODE.replace("{CACHES}", repr(caches)).replace("{IDEMPOTENCY}", repr(profile()))
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "incident" not in ended.stderr

    def test_nor_is_the_database_asked_where_there_is_one(self, django_assert_num_queries):
        view = View(201)
        with django_assert_num_queries(0):
            assert [view.post().status_code for _ in range(2)] == [201, 201]
        assert view.runs == 1
