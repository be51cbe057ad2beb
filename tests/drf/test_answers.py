"""Answers of DRF views: rendered and finalized once inside the transaction, and the same whatever a retry accepts."""

import json
from datetime import timedelta
from typing import ClassVar

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpResponse
from django.test import override_settings
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer, StaticHTMLRenderer
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.versioning import AcceptHeaderVersioning
from rest_framework.views import APIView, exception_handler

from django_idempotency import Kept, idempotent
from django_idempotency.backends import MemoryBackend
from django_idempotency.core.engine import Again, Outcome, Refused
from django_idempotency.drf import IdempotencyAPIException
from django_idempotency.exceptions import InFlight
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.drf.views import pay, view_of

pytestmark = pytest.mark.django_db

HTML = "text/html,application/xhtml+xml"


def nothing_happened():
    return not Payment.objects.exists() and not IdempotencyRecord.objects.exists()


def enveloped(self, request, response, *args, **kwargs):
    if isinstance(response, Response):
        response.data = {"envelope": response.data}
        response["X-Envelope"] = "1"
    return APIView.finalize_response(self, request, response, *args, **kwargs)


class TestFinalizing:
    view = staticmethod(view_of(finalize_response=enveloped))

    def test_an_envelope_is_put_round_the_answer_once_and_frozen_with_it(self, post):
        first, again = post(self.view), post(self.view)
        assert list(json.loads(first.content)) == ["envelope"]
        assert "envelope" not in json.loads(first.content)["envelope"]
        assert again.content == first.content

    def test_a_problem_document_has_none(self, post):
        assert json.loads(post(self.view, key=None).content)["code"] == "key-missing"

    def test_what_initial_refuses_has_one(self, post):
        answer = post(view_of(finalize_response=enveloped, http_method_names=["get"]))
        assert list(json.loads(answer.content)) == ["envelope"]

    def test_what_is_raised_in_the_view_has_one(self, post):
        def deny(request):
            pay(request)
            raise exceptions.PermissionDenied

        answer = post(view_of(deny, finalize_response=enveloped))
        assert (answer.status_code, list(json.loads(answer.content))) == (403, ["envelope"])
        assert nothing_happened()

    def test_an_answer_that_is_not_kept_has_one(self, post):
        answer = post(view_of(lambda request: Response({"amount": "?"}, status=400), finalize_response=enveloped))
        assert json.loads(answer.content) == {"envelope": {"amount": "?"}}
        assert nothing_happened()

    def test_a_kept_answer_is_finalized_and_rendered_too(self, post):
        def decline(request):
            raise Kept(Response({"declined": True}, status=503))

        view = view_of(decline, finalize_response=enveloped)
        assert post(view).content == post(view).content == b'{"envelope":{"declined":true}}'

    def test_a_plain_django_response_is_fine(self, post):
        view = view_of(lambda request: HttpResponse(b"paid", status=201))
        assert post(view).content == post(view).content == b"paid"

    def test_a_finalize_response_that_raises_undoes_the_view(self, post):
        def fail(self, request, response, *args, **kwargs):
            raise RuntimeError("a broken envelope")

        with pytest.raises(RuntimeError, match="a broken envelope"):
            post(view_of(finalize_response=fail))
        assert nothing_happened()


class Broken(JSONRenderer):
    error = RuntimeError("cannot be rendered")

    def render(self, data, *args, **kwargs):
        if "payment" in data:
            raise self.error
        return super().render(data, *args, **kwargs)


class Denying(Broken):
    error = exceptions.PermissionDenied()


def handle_everything(exc, context):
    """An EXCEPTION_HANDLER that has an answer to every exception."""
    return exception_handler(exc, context) or Response({"error": type(exc).__name__}, status=500)


class TestErrorsAfterTheView:
    def test_an_answer_that_cannot_be_rendered_undoes_the_view(self, post):
        with pytest.raises(RuntimeError, match="cannot be rendered"):
            post(view_of(renderer_classes=[Broken]))
        assert nothing_happened()

    def test_an_api_exception_out_of_the_rendering_is_still_drfs_to_answer(self, post):
        answer = post(view_of(renderer_classes=[Denying]))
        assert (answer.status_code, list(json.loads(answer.content))) == (403, ["detail"])
        assert nothing_happened()

    def test_a_broken_transaction_reaches_the_projects_exception_handler(self, post):
        def breaks(request):
            transaction.set_rollback(True)
            return Response({})

        view = view_of(breaks, get_exception_handler=lambda self: handle_everything)
        with transaction.atomic():
            answer = post(view)
        assert (answer.status_code, json.loads(answer.content)) == (500, {"error": "TransactionBroken"})


class LosesTheFirst(MemoryBackend):
    """A store that undoes the first run, as a database does in a conflict with another transaction."""

    lost: ClassVar[list[Outcome | Again]] = []

    def attempt(self, operation, work):
        outcome = super().attempt(operation, work)
        if self.lost:
            return outcome
        self.lost.append(outcome)
        self.clear()
        return Refused(InFlight())


class TestASecondRun:
    @pytest.fixture(autouse=True)
    def conflicted(self, settings):
        settings.IDEMPOTENCY = {"default": {"BACKEND": LosesTheFirst}}
        LosesTheFirst.lost.clear()
        LosesTheFirst.clear()

    def test_a_client_that_waits_gets_the_answer_of_a_second_run_whole(self, post):
        view = view_of(finalize_response=enveloped, choices={"wait": timedelta(seconds=1)})
        answer = post(view, Prefer="wait=1")
        assert (answer.status_code, len(LosesTheFirst.lost)) == (201, 1)
        assert list(json.loads(answer.content)) == ["envelope"]
        assert "Accept" in answer["Vary"]
        assert post(view).content == answer.content

    def test_one_that_does_not_hears_a_problem_of_the_projects_shape(self, post, settings):
        settings.IDEMPOTENCY["default"]["ERROR_RESPONSE"] = "django_idempotency.drf.raise_api_exception"
        answer = post(view_of())
        assert (answer.status_code, list(json.loads(answer.content)), answer["Retry-After"]) == (409, ["detail"], "1")


class TestRendering:
    def test_the_frozen_answer_is_never_the_browsable_page(self, post):
        first = post(view_of(), Accept=HTML)
        assert first["Content-Type"] == "application/json"
        assert post(view_of(), Accept="application/json").content == first.content

    def test_where_there_is_only_the_page_the_page_is_kept(self, post):
        view = view_of(renderer_classes=[StaticHTMLRenderer])
        assert post(view_of(lambda request: Response("<p>paid</p>"), renderer_classes=[StaticHTMLRenderer])).content
        assert post(view, key=None)["Content-Type"] == "application/problem+json"

    def test_a_browsable_renderer_without_another_is_left_as_it_is(self, rf):
        view = view_of(renderer_classes=[BrowsableAPIRenderer], authentication_classes=[])
        request = rf.post("/pay", {}, headers={"Idempotency-Key": "abc", "Accept": "text/html"})
        with override_settings(ROOT_URLCONF=()):
            assert view(request).render()["Content-Type"].startswith("text/html")

    def test_a_replay_is_the_same_whatever_it_accepts(self, post):
        first = post(view_of())
        again = post(view_of(), Accept=HTML)
        assert (again.content, again["Content-Type"]) == (first.content, first["Content-Type"])


class TestVersions:
    view = staticmethod(view_of(versioning_class=AcceptHeaderVersioning))

    def test_another_version_is_another_request(self, post):
        asked = [post(self.view, Accept=f"application/json; version={version}") for version in (1, 2, 1)]
        assert [answer.status_code for answer in asked] == [201, 422, 201]


class TestErrorsOfTheProject:
    @pytest.fixture(autouse=True)
    def by_exception(self, settings):
        settings.IDEMPOTENCY = {"default": {"ERROR_RESPONSE": "django_idempotency.drf.raise_api_exception"}}

    def test_drfs_exception_handler_shapes_the_refusal(self, post):
        answer = post(view_of(), key=None)
        assert (answer.status_code, list(json.loads(answer.content))) == (400, ["detail"])
        assert answer["Content-Type"] == "application/json"
        assert nothing_happened()

    def test_its_handler_gets_the_error_itself(self, post):
        seen = []

        def handler(exc, context):
            seen.append(exc)
            return Response({"code": exc.get_codes()}, status=exc.status_code)

        view = view_of(get_exception_handler=lambda self: handler)
        post(view)
        answer = post(view, {"amount": 6})
        assert (answer.status_code, json.loads(answer.content)) == (422, {"code": "key-reused"})
        assert isinstance(seen[0], IdempotencyAPIException)
        assert seen[0].error.code == "key-reused"

    def test_retry_after_goes_out(self, post):
        answer = post(view_of(choices={"scope": lambda request: None}))
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")

    def test_answers_and_replays_are_as_without(self, post):
        assert post(view_of()).content == post(view_of()).content


class TestScopes:
    def test_the_scope_is_of_drfs_user(self, post):
        view = view_of()
        assert post(view, user=1).content != post(view, user=2).content
        assert set(IdempotencyRecord.objects.values_list("scope", flat=True)) == {"user:1", "user:2"}

    def test_a_scope_that_raises_an_api_exception_is_an_answer_of_its_own(self, post):
        def scope(request):
            raise exceptions.NotAuthenticated

        answer = post(view_of(choices={"scope": scope}))
        assert answer.status_code == 401
        assert nothing_happened()

    @pytest.mark.parametrize(("scope", "status"), [(None, 503), (lambda request: f"key:{request.auth}", 201)])
    def test_who_is_known_by_request_auth_alone_needs_a_scope(self, post, scope, status):
        """Two API keys, same idempotency key: as anonymous, the second would get the first one's answer."""

        class ByKey(BaseAuthentication):
            def authenticate(self, request):
                return AnonymousUser(), "secret"

        view = view_of(authentication_classes=[ByKey], choices={"scope": scope})
        assert post(view).status_code == status

    def test_authorize_sees_drfs_request(self, post):
        answer = post(view_of(choices={"authorize": lambda request: request.data["amount"] < 5}))
        assert (answer.status_code, list(json.loads(answer.content))) == (403, ["detail"])
        assert nothing_happened()

    def test_the_view_finds_its_key_on_drfs_request(self, post):
        view = view_of(lambda request: Response({"key": request.idempotency.key}))
        assert json.loads(post(view).content) == {"key": "abc"}

    def test_a_safe_method_ignores_the_header(self):
        view = type(
            "Payments",
            (APIView,),
            {"get": idempotent(lambda self, request: Response({"key": request.idempotency.key}))},
        )
        request = APIRequestFactory().get("/pay", headers={"Idempotency-Key": ""})
        assert view.as_view()(request).data == {"key": None}
