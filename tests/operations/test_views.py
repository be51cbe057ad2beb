"""Operations in views of every kind: what a client is told."""

import asyncio
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from django_idempotency import OutcomeUnknown, RetryLater, idempotent, signals
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.operations.tills import GATEWAY, deployed, doubtful, lapse, pay, record
from tests.settings import HAVE_DRF
from tests.support.threads import PATIENCE, Stage, running

pytestmark = pytest.mark.django_db(transaction=True)


def request(amount: int = 5, *, key: str | None = "abc", method: str = "POST", **headers: str) -> Any:
    given = {**headers, **({} if key is None else {"Idempotency-Key": key})}
    body = json.dumps({"amount": amount})
    return RequestFactory().generic(method, "/pay", body, content_type="application/json", headers=given)


def post(amount: int = 5, *, using: Any = None, **parts: Any) -> HttpResponse:
    return (using or pay).respond(request(amount, **parts), amount=amount)


def code(response: HttpResponse) -> tuple[int, str]:
    return response.status_code, json.loads(response.content)["code"]


class TestAnswers:
    def test_a_replay_is_the_first_answer_byte_for_byte(self) -> None:
        first, again = post(), post()
        assert (first.status_code, json.loads(first.content)) == (201, {"charge": 1, "amount": 5})
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        assert first["Content-Type"] == again["Content-Type"] == "application/json"
        assert GATEWAY.names == ["charge"]

    def test_another_payload_is_422_and_told(self) -> None:
        post()
        assert code(post(6)) == (422, "key-reused")
        assert IdempotencyIncident.objects.get().kind == "mismatch"

    def test_a_key_is_required(self) -> None:
        assert code(post(key=None)) == (400, "key-missing")
        assert not IdempotencyRecord.objects.exists()

    def test_a_key_that_is_none_is_refused(self) -> None:
        assert code(post(key='"unfinished')) == (400, "key-invalid")

    def test_a_key_is_required_even_where_the_profile_does_without(self, settings: Any) -> None:
        settings.IDEMPOTENCY = {"default": {"REQUIRED": False}}
        assert code(post(key=None)) == (400, "key-missing")

    def test_scopes_are_apart(self) -> None:
        scoped = deployed(pay.function, scope=lambda request: request.headers["Tenant"])
        for tenant in ("a", "b", "a"):
            post(using=scoped, Tenant=tenant)
        assert len(GATEWAY.charged) == 2

    def test_whoever_may_not_is_refused_before_the_claim_and_on_a_replay(self) -> None:
        allowed = [True]
        guarded = deployed(pay.function, authorize=lambda request: allowed[0])
        post(using=guarded)
        allowed[0] = False
        for key in ("abc", "new"):
            with pytest.raises(PermissionDenied):
                post(using=guarded, key=key)
        assert IdempotencyRecord.objects.count() == 1

    def test_retry_later_is_503_with_its_seconds(self) -> None:
        response = post(using=deployed(lambda op, amount: RetryLater(17)))
        assert (code(response), response["Retry-After"]) == ((503, "retry-later"), "17")

    def test_who_does_not_know_is_put_off_and_answered_by_the_next_request(self) -> None:
        GATEWAY.after = doubtful()
        response = post()
        assert (response.status_code, json.loads(response.content)["retryable"]) == (503, True)
        assert int(response["Retry-After"]) >= 1
        assert post().status_code == 201

    def test_what_waits_for_a_person_is_409_and_named(self) -> None:
        GATEWAY.after, GATEWAY.key_ttl = doubtful(), None
        gateway = deployed(lambda op, amount: op.remote(GATEWAY.charge, amount=amount))
        for _ in range(2):
            response = post(using=gateway)
            assert code(response) == (409, "outcome-unknown")
            assert json.loads(response.content)["operation"] == str(record().id)
            assert "Retry-After" not in response

    @override_settings(IDEMPOTENCY={"default": {"ERROR_RESPONSE": lambda request, error: HttpResponse(error.code)}})
    def test_errors_are_in_the_project_s_own_shape(self) -> None:
        assert post(key=None).content == b"key-missing"

    def test_a_safe_method_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="has effects"):
            post(method="GET")

    def test_inside_a_view_that_is_idempotent_itself_it_is_refused(self) -> None:
        @idempotent
        def view(request: Any) -> HttpResponse:
            return pay.respond(request, amount=5)

        with pytest.raises(ImproperlyConfigured):
            view(request())
        assert GATEWAY.calls == []

    def test_inside_a_coroutine_view_that_is_idempotent_itself_it_is_refused(self) -> None:
        @idempotent
        async def view(request: Any) -> HttpResponse:
            return await pay.arespond(request, amount=5)

        with pytest.raises(ImproperlyConfigured, match="calls another that is"):
            asyncio.run(view(request()))
        assert GATEWAY.calls == []

    def test_completion_and_replay_are_signalled(self) -> None:
        seen: list[str] = []

        def completed(**_: Any) -> None:
            seen.append("completed")

        def replayed(**_: Any) -> None:
            seen.append("replayed")

        signals.completed.connect(completed)
        signals.replayed.connect(replayed)
        post()
        post()
        assert seen == ["completed", "replayed"]


class TestInFlight:
    def test_a_duplicate_is_told_to_come_again(self) -> None:
        stage = Stage()
        GATEWAY.after = stage.enter
        with running(post, stage):
            response = post()
        assert (code(response), response["Retry-After"]) == ((409, "in-flight"), "1")
        assert GATEWAY.names == ["charge"]

    def test_a_duplicate_that_prefers_to_waits_for_the_answer(self) -> None:
        stage = Stage()
        GATEWAY.after = stage.enter
        patient = deployed(pay.function, wait=timedelta(seconds=PATIENCE))
        with running(lambda: post(using=patient), stage) as first:
            # Let go while this one waits.
            threading.Timer(0.2, stage.gone_on.set).start()
            response = post(using=patient, Prefer="wait=8")
        assert response.content == first.result().content
        assert GATEWAY.names == ["charge"]

    def test_who_waits_does_not_press_a_gateway_that_does_not_know(self) -> None:
        patient = deployed(pay.function, wait=timedelta(seconds=1))
        GATEWAY.after, GATEWAY.finding = doubtful(), OutcomeUnknown("down")
        post(using=patient)
        assert post(using=patient, Prefer="wait=1").status_code == 503
        assert GATEWAY.names == ["charge", "find"]


class TestKinds:
    def test_a_plain_view(self) -> None:
        def view(request: Any) -> HttpResponse:
            return pay.respond(request, **json.loads(request.body))

        assert view(request()).content == view(request()).content

    def test_an_async_view(self) -> None:
        async def view(request: Any) -> HttpResponse:
            return await pay.arespond(request, **json.loads(request.body))

        async def twice() -> list[HttpResponse]:
            return [await view(request()), await view(request())]

        first, again = asyncio.run(twice())
        assert (first.content, again["Idempotent-Replayed"]) == (again.content, "true")

    def test_a_coroutine_view_that_has_become_an_operation_is_not_run_again(self) -> None:
        post()
        IdempotencyRecord.objects.update(state="processing", operation="", operation_input=None, body=None, status=None)
        IdempotencyRecord.objects.update(expires_at=None, forget_at=None)
        lapse()
        assert code(post()) == (409, "outcome-unknown")
        assert (GATEWAY.names, record().state) == (["charge"], "unknown")

    @pytest.mark.skipif(not HAVE_DRF, reason="without DRF")
    def test_a_drf_view(self) -> None:
        from rest_framework.views import APIView

        class Pay(APIView):
            authentication_classes = ()

            def post(self, request: Any) -> HttpResponse:
                return pay.respond(request, amount=request.data["amount"])

        view = Pay.as_view()
        first, again = view(request()), view(request())
        assert (first.content, again["Idempotent-Replayed"]) == (again.content, "true")
