"""What a project may plug in: SCOPE, AUTHORIZE, FINGERPRINT, KEEP and ERROR_RESPONSE, and what becomes of their errors."""

import json

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.test import RequestFactory

from django_idempotency import idempotent
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db


def pay(request):
    return HttpResponse(str(Payment.objects.create(nonce="").pk), status=201)


def post(view, body=b'{"amount": 5}', *, key="abc", user=None, **headers):
    request = RequestFactory().post("/pay", body, content_type="application/json", headers=headers)
    if key is not None:
        request.META["HTTP_IDEMPOTENCY_KEY"] = key
    request.user = user or AnonymousUser()
    return view(request)


def nothing_happened():
    return not Payment.objects.exists() and not IdempotencyRecord.objects.exists()


class TestScope:
    @pytest.mark.parametrize("scope", [None, "", 7, "a\0b", "\ud800", b"user:1"])
    def test_one_that_does_not_say_is_503_and_nothing_runs(self, scope):
        answer = post(idempotent(scope=lambda request: scope)(pay))
        document = json.loads(answer.content)
        assert (answer.status_code, document["code"], document["retryable"]) == (503, "scope-unavailable", True)
        assert answer["Retry-After"] == "5"
        assert nothing_happened()

    def test_one_that_raises_is_503_and_nothing_runs(self):
        answer = post(idempotent(scope=lambda request: request.merchant.pk)(pay))
        assert (answer.status_code, json.loads(answer.content)["code"]) == (503, "scope-unavailable")
        assert nothing_happened()

    def test_one_that_denies_is_the_projects_own_answer(self):
        def scope(request):
            raise PermissionDenied

        with pytest.raises(PermissionDenied):
            post(idempotent(scope=scope)(pay))
        assert nothing_happened()

    def test_one_key_in_two_scopes_is_two_keys(self):
        view = idempotent(pay)
        answers = [post(view, user=User(pk=pk)) for pk in (1, 2, 1)]
        assert answers[0].content == answers[2].content != answers[1].content
        assert set(IdempotencyRecord.objects.values_list("scope", flat=True)) == {"user:1", "user:2"}

    def test_a_scope_of_any_length_and_script_is_stored(self):
        view = idempotent(scope=lambda request: "tenant:é🏦" * 500)(pay)
        assert post(view).content == post(view).content


class TestAuthorize:
    def test_a_falsy_answer_is_403_and_nothing_runs(self):
        with pytest.raises(PermissionDenied):
            post(idempotent(authorize=lambda request: None)(pay))
        assert nothing_happened()

    def test_it_is_asked_again_before_a_replay(self):
        view = idempotent(authorize=lambda request: "Banned" not in request.headers)(pay)
        first = post(view)
        with pytest.raises(PermissionDenied):
            post(view, Banned="1")
        assert post(view).content == first.content

    def test_it_is_not_asked_where_there_is_no_key(self):
        assert post(idempotent(authorize=lambda request: False, required=False)(pay), key=None).status_code == 201


class TestFingerprint:
    def test_a_callable_says_what_counts_of_the_body(self):
        view = idempotent(fingerprint=lambda request: json.loads(request.body)["order"])(pay)
        first = post(view, b'{"order": "7", "at": 1}')
        assert post(view, b'{"order": "7", "at": 2}').content == first.content
        assert post(view, b'{"order": "8", "at": 1}').status_code == 422

    def test_text_and_its_bytes_are_the_same(self):
        assert post(idempotent(fingerprint=lambda request: "é")(pay)).status_code == 201
        again = post(idempotent(fingerprint=lambda request: "é".encode())(pay))
        assert again["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("part", [None, 7, ["a"]])
    def test_anything_but_text_and_bytes_is_an_error_and_nothing_runs(self, part):
        with pytest.raises(TypeError):
            post(idempotent(fingerprint=lambda request: part)(pay))
        assert nothing_happened()

    def test_pointers_say_what_does_not_count(self):
        view = idempotent(fingerprint=["/sent_at", "/lines/0/at"])(pay)
        first = post(view, b'{"amount": 5, "sent_at": 1, "lines": [{"at": 1, "n": 1}]}')
        assert post(view, b'{"amount": 5, "sent_at": 2, "lines": [{"at": 2, "n": 1}]}').content == first.content
        assert post(view, b'{"amount": 5, "sent_at": 1, "lines": [{"at": 1, "n": 2}]}').status_code == 422

    def test_path_and_query_count_all_the_same(self):
        view = idempotent(fingerprint=lambda request: "")(pay)
        answers = []
        for path in ("/pay?to=1", "/pay?to=2", "/refund?to=1", "/pay?to=1"):
            request = RequestFactory().post(path, headers={"Idempotency-Key": "abc"})
            answers.append(view(request).status_code)
        assert answers == [201, 422, 422, 201]


class TestKeep:
    def test_it_is_asked_with_request_and_response(self):
        view = idempotent(keep=lambda request, response: request.path == "/pay" and response.status_code != 201)(pay)
        assert post(view).status_code == 201
        assert nothing_happened()

    def test_one_that_raises_undoes_the_view(self):
        with pytest.raises(ZeroDivisionError):
            post(idempotent(keep=lambda request, response: 1 / 0)(pay))
        assert nothing_happened()


class TestErrorResponse:
    @pytest.fixture(autouse=True)
    def shaped(self, settings):
        def shape(request, error):
            return JsonResponse({"error": error.code, "path": request.path}, status=418)

        settings.IDEMPOTENCY = {"default": {"ERROR_RESPONSE": shape}}

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ({"key": None}, "key-missing"),
            ({"key": "a b"}, "key-invalid"),
            ({"body": b"{"}, "body-invalid"),
            ({"body": b"6"}, "key-reused"),
        ],
    )
    def test_every_refusal_takes_the_projects_shape(self, sent, code):
        view = idempotent(pay)
        post(view)
        answer = post(view, **sent)
        assert (answer.status_code, json.loads(answer.content)) == (418, {"error": code, "path": "/pay"})

    def test_answers_of_the_view_do_not(self):
        view = idempotent(pay)
        assert post(view).status_code == post(view).status_code == 201

    def test_one_that_raises_is_heard(self, settings):
        settings.IDEMPOTENCY = {"default": {"ERROR_RESPONSE": lambda request, error: 1 / 0}}
        with pytest.raises(ZeroDivisionError):
            post(idempotent(pay), key=None)
        assert nothing_happened()
