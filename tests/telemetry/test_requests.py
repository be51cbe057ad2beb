"""What OpenTelemetry is told of each request, and what it is never told."""

import contextlib
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.db.models import F
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from opentelemetry import trace

from django_idempotency import idempotent, resolution, signals, telemetry
from django_idempotency.backends import MemoryBackend
from django_idempotency.maintenance import recover
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.support.threads import Stage, running
from tests.telemetry.instruments import Instruments

pytestmark = pytest.mark.django_db(transaction=True)

HIDDEN = "a-key-that-tells-4111111111111111"


@pytest.fixture
def told():
    return Instruments()


@pytest.fixture
def post(told):
    """Send a request to the bank inside a span, as OpenTelemetry's own Django instrumentation opens one."""

    def post(body=None, *, path="/plain/pay", key=HIDDEN, **headers):
        client = Client(raise_request_exception=False)
        named = {"Idempotency-Key": key, "Authorization": "Test 7", **headers}
        with told.tracer.start_as_current_span("POST"):
            return client.post(
                path,
                json.dumps({"amount": 5, **(body or {})}),
                content_type="application/json",
                headers={name: value for name, value in named.items() if value is not None},
            )

    return post


def attributes(told):
    """What the last request's span says, without the prefix."""
    return {name.removeprefix("idempotency."): value for name, value in told.spans()[-1].attributes.items()}


def events(told):
    return [event.name for event in told.spans()[-1].events]


def abandon():
    """Let the only record be one that its owner left behind, two hours ago."""
    IdempotencyRecord.objects.update(
        state="processing", token=0, completed_at=None, claimed_at=F("claimed_at") - timedelta(hours=2)
    )
    Payment.objects.all().delete()


class TestOutcomes:
    def test_a_first_request_is_completed(self, told, post):
        assert post().status_code == 201
        assert told.counted("idempotency.requests") == {"completed": 1}
        assert told.counted("idempotency.duration") == {"completed": 1}
        assert events(told) == ["idempotency.claimed", "idempotency.completed"]
        record = IdempotencyRecord.objects.get()
        assert attributes(told) == {
            "profile": "default",
            "operation_id": str(record.id),
            "key_hash": telemetry.key_hash(HIDDEN),
            "attempt": 1,
            "outcome": "completed",
        }

    def test_a_retry_is_replayed(self, told, post):
        post()
        assert post()["Idempotent-Replayed"] == "true"
        assert told.counted("idempotency.requests") == {"completed": 1, "replayed": 1}
        assert told.counted("idempotency.duration") == {"completed": 1}
        assert attributes(told)["outcome"] == "replayed"
        assert attributes(told)["operation_id"] == str(IdempotencyRecord.objects.get().id)

    def test_another_payload_is_refused_by_its_code(self, told, post):
        post()
        assert post({"amount": 6}).status_code == 422
        assert told.counted("idempotency.requests") == {"completed": 1, "key-reused": 1}
        assert attributes(told)["outcome"] == "key-reused"

    @pytest.mark.parametrize(("then", "status"), [("503", 503), ("raise", 500)])
    def test_what_is_not_kept_is_released(self, told, post, then, status):
        assert post({"then": then}).status_code == status
        assert told.counted("idempotency.requests") == {"released": 1}
        assert told.counted("idempotency.duration") == {"released": 1}
        assert attributes(told)["outcome"] == "released"

    def test_a_retry_that_takes_over_is_a_second_attempt(self, told, post):
        if connection.vendor == "sqlite":
            pytest.skip("a crash leaves no claim behind on SQLite")
        post()
        abandon()
        assert post().status_code == 201
        assert told.counted("idempotency.takeovers", "profile") == {"default": 1}
        assert attributes(told)["attempt"] == 2

    def test_an_unknown_outcome_is_refused_by_its_code(self, told, post):
        with contextlib.suppress(Exception):
            post({"then": "raw commit"})
        assert "outcome" not in attributes(told)
        assert post({"then": "raw commit"}).status_code == 409
        assert told.counted("idempotency.requests") == {"outcome-unknown": 1}

    def test_a_key_that_cannot_be_read_has_no_hash(self, told, post):
        assert post(key="a b").status_code == 400
        assert told.counted("idempotency.requests") == {"key-invalid": 1}
        assert attributes(told) == {"profile": "default", "outcome": "key-invalid"}

    def test_a_request_without_a_key_is_counted_as_unprotected(self, told, post):
        assert post(path="/plain/optional", key=None).status_code == 201
        assert told.counted("idempotency.requests") == {"unprotected": 1}
        assert attributes(told) == {"profile": "default", "outcome": "unprotected"}

    def test_what_is_in_flight_is_counted_while_it_is(self, told, settings):
        settings.IDEMPOTENCY = {"default": {"JOIN_TIMEOUT": timedelta(seconds=0.2)}}
        stage = Stage()

        def slow():
            def wait(**arguments):
                stage.enter()

            signals.claimed.connect(wait)
            return pay("first")

        def pay(key):
            headers = {"Idempotency-Key": key, "Authorization": "Test 7"}
            return Client().post("/plain/pay", "{}", content_type="application/json", headers=headers)

        with running(slow, stage) as first:
            assert pay("first").status_code == 409
            assert told.counted("idempotency.requests") == {"in-flight": 1}
        assert first.result().status_code == 201
        assert told.counted("idempotency.requests") == {"in-flight": 1, "completed": 1}

    def test_a_run_that_is_undone_has_a_duration_under_the_code_of_its_refusal(self, told, post, monkeypatch):
        """Its own claim was given to somebody else while it ran, or the database refused its commit."""
        from django_idempotency.core import engine
        from django_idempotency.exceptions import InFlight

        def overtaken(store, operation, work, *, wait=0):
            work(engine.Claim(operation=operation, number=1))
            return engine.Refused(InFlight())

        monkeypatch.setattr(engine, "run", overtaken)
        assert post().status_code == 409
        assert told.counted("idempotency.duration") == {"in-flight": 1}

    def test_a_key_that_upkeep_frees_is_counted(self, told, post):
        post()
        abandon()
        recover()
        assert list(told.counted("idempotency.recoveries").values()) == [1]

    def test_what_a_person_settles_is_counted_by_the_act(self, told, post):
        post()
        abandon()
        record = IdempotencyRecord.objects.get()
        resolution.release(record.pk, claim=record.claim, reason="dead", actor=resolution.Actor(name="ada"))
        counted = told.points("idempotency.resolutions")
        assert {point.attributes["idempotency.act"] for point in counted} == {act.value for act in resolution.Act}
        assert [point.attributes["idempotency.act"] for point in counted if point.value] == ["release"]

    @pytest.mark.parametrize("path", ["/api/pay", "/api/function"])
    def test_views_of_django_rest_framework_are_counted_alike(self, told, post, path):
        pytest.importorskip("rest_framework")
        post(path=path)
        post(path=path)
        assert told.counted("idempotency.requests") == {"completed": 1, "replayed": 1}
        assert told.counted("idempotency.duration") == {"completed": 1}

    def test_coroutine_views_are_counted_alike(self, told):
        @idempotent
        async def view(request):
            return HttpResponse(status=201)

        for _ in range(2):
            request = RequestFactory().post(
                "/pay", b"5", content_type="text/plain", headers={"Idempotency-Key": "key-1"}
            )
            request.user = AnonymousUser()
            with told.tracer.start_as_current_span("POST"):
                assert async_to_sync(view)(request).status_code == 201
        assert told.counted("idempotency.requests") == {"completed": 1, "replayed": 1}
        assert told.counted("idempotency.duration") == {"completed": 1}
        assert [span.attributes["idempotency.outcome"] for span in told.spans()] == ["completed", "replayed"]

    def test_another_store_is_counted_alike(self, told, post, settings):
        settings.IDEMPOTENCY = {"default": {"BACKEND": "django_idempotency.backends.MemoryBackend"}}
        MemoryBackend.clear()
        post()
        post()
        assert told.counted("idempotency.requests") == {"completed": 1, "replayed": 1}


class TestDuration:
    def test_it_is_in_seconds_and_in_buckets_made_for_seconds(self, told, post):
        post()
        (point,) = told.points("idempotency.duration")
        assert 0 < point.sum < 5
        assert point.explicit_bounds == telemetry.BUCKETS

    def test_views_that_call_one_another_are_timed_each_for_itself(self, told):
        @idempotent
        def view(request):
            """Stands for any view."""

        request = SimpleNamespace()
        outer, inner = (SimpleNamespace(id=number, key="key") for number in (1, 2))
        for operation in (outer, inner):
            signals.claimed.send(view, request=request, operation=operation, attempt=1)
        for operation in (inner, outer):
            signals.completed.send(view, request=request, operation=operation, response=None)
        assert told.counted("idempotency.duration") == {"completed": 2}


class TestWhatIsNeverTold:
    def test_no_key_no_scope_and_no_body(self, told, post):
        for body in ({"card": "5555444433332222"}, {"card": "5555444433332222"}, {"amount": 6}, {"then": "raise"}):
            post(body)
        post({"then": "503"}, key=f"{HIDDEN}-2")
        post(key=f'"{HIDDEN}')
        said = told.said()
        assert "idempotency.key_hash" in said
        for secret in (HIDDEN, "4111111111111111", "5555444433332222", "user:7", "nonce"):
            assert secret not in said

    def test_the_hash_of_a_key_is_keyed(self, settings):
        first = telemetry.key_hash("order-1")
        settings.SECRET_KEY = "another"
        assert telemetry.key_hash("order-1") != first
        assert len(first) == 16

    def test_no_request_makes_a_time_series_of_its_own(self, told, post):
        def series():
            names = ("requests", "duration", "takeovers", "recoveries", "records", "records.age")
            return {(name, *point.attributes.items()) for name in names for point in told.points(f"idempotency.{name}")}

        def everything(number):
            key = f"key-{number}"
            post({"amount": number}, key=key)
            post({"amount": number}, key=key)
            post({"amount": number + 1}, key=key)
            post({"then": "503"}, key=f"other-{number}", **{"Authorization": f"Test {number}", "User-Agent": key})
            post(key=f"{number} no key")

        everything(1)
        before = series()
        for number in range(2, 6):
            everything(number)
        assert series() == before
        assert len(before) == len(telemetry.OUTCOMES) + 8


class TestCost:
    def test_without_a_recording_span_no_key_is_hashed(self, told, monkeypatch):
        hashed = []
        monkeypatch.setattr(telemetry, "key_hash", hashed.append)
        headers = {"Idempotency-Key": "key-1", "Authorization": "Test 7"}
        assert not trace.get_current_span().is_recording()
        Client().post("/plain/pay", "{}", content_type="application/json", headers=headers)
        assert told.counted("idempotency.requests") == {"completed": 1}
        assert hashed == []

    def test_before_it_is_installed_no_signal_has_a_receiver(self):
        assert not signals.claimed.has_listeners()
        assert not signals.completed.has_listeners()

    def test_to_install_it_twice_counts_once(self, told, post):
        telemetry.install(provider := told.provider)
        telemetry.install(provider)
        post()
        assert told.counted("idempotency.requests") == {"completed": 1}

    def test_it_asks_the_database_nothing(self):
        def statements(key):
            headers = {"Idempotency-Key": key, "Authorization": "Test 7"}
            with CaptureQueriesContext(connection) as first:
                Client().post("/plain/pay", "{}", content_type="application/json", headers=headers)
            with CaptureQueriesContext(connection) as retry:
                Client().post("/plain/pay", "{}", content_type="application/json", headers=headers)
            kinds = [query["sql"].split()[0] for query in first.captured_queries]
            # Whoever observes `claimed` does so in a savepoint, so that it can spoil nothing.
            return [kind for kind in kinds if kind not in {"SAVEPOINT", "RELEASE"}], len(retry.captured_queries)

        statements("key-0")
        before = statements("key-1")
        Instruments()
        assert statements("key-2") == before
