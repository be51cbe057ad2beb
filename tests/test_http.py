"""From a request to an operation, and from answers to snapshots, problem documents and back."""

import json
import math
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_idempotency import exceptions
from django_idempotency.core.engine import Snapshot
from django_idempotency.core.policies import Policy
from django_idempotency.exceptions import IdempotencyError, KeyInvalid, KeyMissing, OutcomeUnknown, ScopeUnavailable
from django_idempotency.http import (
    NEVER_REPLAYED,
    REPLAYED,
    STATUSES,
    Exchange,
    preferred_wait,
    problem_document,
)
from django_idempotency.scopes import default_scope

RECORD = uuid.UUID("68f65cce-ed3c-54cb-97f4-50cc5ba917c1")


def exchange(*, headers=None, path="/pay", user=None, **choices):
    request = RequestFactory().post(path, b"", content_type="text/plain", headers=headers)
    request.user = user or AnonymousUser()
    return Exchange(request, Policy(**choices))


class TestFreezing:
    def freeze(self, response, **choices):
        return exchange(**choices).freeze(response)

    def test_status_headers_on_the_list_and_the_bytes_are_frozen(self):
        headers = {
            "Location": "/1",
            "ETag": '"1"',
            "Link": "</2>",
            "Content-Language": "de",
            "Content-Encoding": "gzip",
            "Content-Disposition": "inline",
        }
        response = HttpResponse(b"\xff\x00paid", status=201, content_type="text/x", headers=headers)
        snapshot = self.freeze(response)
        assert (snapshot.status, snapshot.body) == (201, b"\xff\x00paid")
        assert snapshot.headers == (*headers.items(), ("Content-Type", "text/x"))

    def test_any_other_header_is_left_out(self):
        response = HttpResponse(headers={"X-Private": "1", "Vary": "Cookie", "Content-Length": "0", "Date": "today"})
        assert [name for name, _ in self.freeze(response).headers] == ["Content-Type"]

    def test_a_header_may_be_added_to_the_list_in_any_case(self):
        response = HttpResponse(headers={"X-Request-Id": "7"})
        assert ("X-Request-Id", "7") in self.freeze(response, replay_headers=("x-request-ID",)).headers

    @pytest.mark.parametrize("name", sorted(NEVER_REPLAYED))
    def test_what_belongs_to_one_client_or_connection_is_left_out_whatever_is_added(self, name):
        response = HttpResponse(headers={name: "secret"})
        assert [found for found, _ in self.freeze(response, replay_headers=(name.title(),)).headers] == ["Content-Type"]

    def test_a_cookie_is_left_out(self):
        response = HttpResponse("paid")
        response.set_cookie("session", "secret")
        snapshot = self.freeze(response, replay_headers=("Set-Cookie",))
        assert "secret" not in repr(snapshot)
        assert not exchange().thaw(snapshot).cookies

    def test_the_two_lists_have_nothing_in_common(self):
        assert set() == REPLAYED & NEVER_REPLAYED

    @pytest.mark.parametrize(("size", "kept"), [(9, True), (10, True), (11, False)])
    def test_a_body_larger_than_max_response_is_left_out(self, size, kept):
        snapshot = self.freeze(HttpResponse(b"x" * size), max_response=10)
        assert snapshot.body == (b"x" * size if kept else None)

    def test_a_streamed_body_is_left_out_and_not_consumed(self):
        response = StreamingHttpResponse(iter([b"a", b"b"]), status=202)
        assert self.freeze(response).body is None
        assert b"".join(response) == b"ab"


class TestThawing:
    def test_a_replay_is_marked_and_not_to_be_stored(self):
        replay = exchange(replayed_header="X-Replayed").thaw(Snapshot(201, (("Content-Type", "text/x"),), b"paid"))
        assert (replay.status_code, replay.content, replay["Content-Type"]) == (201, b"paid", "text/x")
        assert (replay["X-Replayed"], replay["Cache-Control"]) == ("true", "no-store")
        assert "Idempotent-Replay-Body" not in replay

    def test_an_answer_without_a_content_type_gets_none(self):
        assert "Content-Type" not in exchange().thaw(Snapshot(204, (), b""))

    def test_an_omitted_body_is_said_to_be(self):
        replay = exchange().thaw(Snapshot(201, (("Location", "/1"),), None))
        assert (replay.content, replay["Location"], replay["Idempotent-Replay-Body"]) == (b"", "/1", "omitted")

    @given(
        st.sampled_from([200, 201, 204, 303, 402, 404]),
        st.binary(max_size=64),
        st.dictionaries(
            st.sampled_from(["Location", "ETag", "Content-Type"]),
            st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
        ),
    )
    def test_what_is_frozen_thaws_to_the_same_status_bytes_and_headers(self, status, body, headers):
        response = HttpResponse(body, status=status, headers={"Content-Type": "text/x"} | headers)
        replay = exchange().thaw(exchange().freeze(response))
        assert (replay.status_code, replay.content) == (status, body)
        added = {"Idempotent-Replayed": "true", "Cache-Control": "no-store"}
        assert dict(replay.items()) == dict(response.items()) | added


class TestFinishing:
    def test_a_template_response_is_rendered(self):
        response = TemplateResponse(None, engines["django"].from_string("{{ paid }}"), {"paid": "yes"})
        assert exchange().finish(response).content == b"yes"

    def test_any_other_response_is_left_as_it_is(self):
        response = HttpResponse("paid")
        assert exchange().finish(response) is response


class TestKeeping:
    def test_a_status_decides(self):
        assert exchange().keeps(HttpResponse(status=402))
        assert not exchange().keeps(HttpResponse(status=409))

    @pytest.mark.parametrize("target", ["/accounts/login/", "/accounts/login/?next=/pay"])
    def test_a_redirect_to_the_log_in_page_is_not_kept(self, target):
        assert not exchange().keeps(HttpResponseRedirect(target))

    @override_settings(LOGIN_URL="admin:index")
    def test_the_log_in_page_may_be_named_by_its_view(self):
        assert not exchange().keeps(HttpResponseRedirect("/admin/?next=/"))
        assert exchange().keeps(HttpResponseRedirect("/accounts/login/"))

    @override_settings(LOGIN_URL="no-such-view")
    def test_a_log_in_page_that_is_not_there_is_nobodys_target(self):
        assert exchange().keeps(HttpResponseRedirect("/no-such-view"))

    @override_settings(LOGIN_URL="/log-in/?sso=1")
    def test_the_log_in_page_may_have_a_query_of_its_own(self):
        assert not exchange().keeps(HttpResponseRedirect("/log-in/?sso=1&next=/pay"))

    @pytest.mark.parametrize("response", [HttpResponseRedirect("/receipts/1"), HttpResponse(status=304)])
    def test_any_other_redirect_is_kept(self, response):
        assert exchange().keeps(response)

    def test_an_answer_that_only_names_the_log_in_page_is_kept(self):
        assert exchange().keeps(HttpResponse(status=201, headers={"Location": settings.LOGIN_URL}))

    def test_keep_has_the_last_word_and_sees_request_and_response(self):
        def keep(request, response):
            return request.path == "/pay" and response.status_code == 503

        assert exchange(keep=keep).keeps(HttpResponse(status=503))
        assert exchange(keep=keep).keeps(HttpResponse(status=201)) is False


MADE = {
    OutcomeUnknown: lambda: OutcomeUnknown(operation=RECORD),
    exceptions.RetryLater: lambda: exceptions.RetryLater(30),
}


class TestProblems:
    ERRORS = [
        MADE.get(error, error)()
        for error in vars(exceptions).values()
        if isinstance(error, type) and issubclass(error, IdempotencyError) and error.code in STATUSES
    ]

    def test_every_code_has_an_error_and_a_status(self):
        assert {error.code for error in self.ERRORS} == set(STATUSES)

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
    def test_a_problem_document_has_its_members(self, error):
        response = exchange(problem_types="urn:p:").refuse(error)
        document = json.loads(response.content)
        expected = {"type", "title", "status", "detail", "code", "retryable"}
        assert document.keys() == expected | ({"operation"} if isinstance(error, OutcomeUnknown) else set())
        assert document["type"] == f"urn:p:{error.code}"
        assert document["status"] == response.status_code == STATUSES[error.code][0]
        assert (document["title"], document["retryable"]) == (STATUSES[error.code][1], error.retryable)
        assert document["detail"] == error.detail == " ".join(error.detail.split())

    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
    def test_its_headers_say_what_it_is_and_when_to_come_again(self, error):
        response = exchange().refuse(error)
        assert response["Content-Type"] == "application/problem+json"
        assert response["Link"].endswith(f'#{error.code}>; rel="describedby"')
        assert response["Cache-Control"] == "no-store"
        assert ("Retry-After" in response) == error.retryable
        if error.retryable:
            assert int(response["Retry-After"]) >= 1

    def test_the_operation_of_an_unknown_outcome_is_named(self):
        assert problem_document(OutcomeUnknown(operation=RECORD), "")["operation"] == str(RECORD)

    def test_a_detail_of_its_own_goes_out(self):
        assert problem_document(KeyInvalid("It is empty."), "")["detail"] == "It is empty."

    def test_the_projects_own_shape_takes_its_place(self):
        def shape(request, error):
            return JsonResponse({"error": error.code, "at": request.path}, status=418)

        response = exchange(error_response=shape).refuse(KeyMissing())
        assert (response.status_code, json.loads(response.content)) == (418, {"error": "key-missing", "at": "/pay"})


class TestPrefer:
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("wait=5", 5),
            ("WAIT=5", 5),
            (" wait = 5 ", 5),
            ("respond-async, wait=7", 7),
            ("wait=7; foo=bar, respond-async", 7),
            ("wait=2, wait=9", 2),
            ("", 0),
            ("wait", 0),
            ("wait=", 0),
            ("wait=-1", 0),
            ("wait=1.5", 0),
            ("wait=soon", 0),
            ("wait=soon, wait=3", 3),
            ("waits=5", 0),
            ("return=minimal", 0),
        ],
    )
    def test_the_wait_is_read(self, header, seconds):
        assert preferred_wait(header) == seconds

    @given(st.text())
    def test_anything_is_a_number_of_seconds(self, header):
        assert preferred_wait(header) >= 0

    def test_the_limit_is_the_projects(self):
        headers = {"Prefer": "wait=60"}
        assert exchange(headers=headers, wait=timedelta(seconds=10)).wait() == 10
        assert exchange(headers=headers).wait() == 0
        assert exchange(wait=timedelta(seconds=10)).wait() == 0

    def test_a_number_of_any_length_is_within_the_limit(self):
        headers = {"Prefer": "wait=" + "9" * 400}
        assert math.isclose(exchange(headers=headers, wait=timedelta(seconds=10)).wait(), 10)


class TestKey:
    def test_no_header_is_no_key(self):
        assert exchange().key() is None

    def test_an_empty_header_is_not_an_absent_one(self):
        with pytest.raises(KeyInvalid):
            exchange(headers={"Idempotency-Key": ""}).key()

    def test_the_header_and_the_rules_are_the_policys(self):
        headers = {"X-Key": '"12345678"', "Idempotency-Key": "other"}
        assert exchange(headers=headers, header="X-Key", strict_keys=True, min_key_length=8).key() == "12345678"
        for rules in ({"strict_keys": True}, {"min_key_length": 20}, {"uuid_keys": True}):
            with pytest.raises(KeyInvalid):
                exchange(headers=headers, **rules).key()


class TestScope:
    def test_a_user_is_named_by_primary_key(self):
        assert exchange(user=User(pk=7)).scope() == "user:7"

    @pytest.mark.parametrize(
        "request_", [SimpleNamespace(), SimpleNamespace(user=None), SimpleNamespace(user=AnonymousUser())]
    )
    def test_without_a_user_it_is_anonymous(self, request_):
        assert default_scope(request_) == "anonymous"

    def test_another_kind_of_principal_is_not_a_user(self):
        merchant = Group(pk=7)
        merchant.is_authenticated = True
        assert default_scope(SimpleNamespace(user=merchant)) == "auth.group:7"

    def test_a_principal_that_is_no_model_is_named_by_its_class(self):
        scope = default_scope(SimpleNamespace(user=SimpleNamespace(is_authenticated=True, pk=7)))
        assert scope == "types.SimpleNamespace:7"

    def test_a_principal_that_says_nothing_about_authentication_is_one(self):
        """Two merchants, same key: taken for anonymous, the second would get the first one's answer."""
        scopes = {default_scope(SimpleNamespace(user=SimpleNamespace(pk=pk))) for pk in (1, 2)}
        assert scopes == {"types.SimpleNamespace:1", "types.SimpleNamespace:2"}

    def test_a_principal_without_a_primary_key_has_no_scope(self):
        with pytest.raises(ScopeUnavailable):
            exchange(user=SimpleNamespace(name="machine")).scope()

    def test_a_user_that_was_never_saved_has_no_scope(self):
        with pytest.raises(ScopeUnavailable):
            exchange(user=User()).scope()

    @pytest.mark.parametrize("scope", [None, "", "a\0b", "a\nb", "\ud800", 7, b"user:1"])
    def test_a_callable_that_returns_no_text_is_unavailable(self, scope, caplog):
        with pytest.raises(ScopeUnavailable):
            exchange(scope=lambda request: scope).scope()
        assert "must be a text" in caplog.text

    def test_one_that_raises_is_unavailable_and_logged(self, caplog):
        with pytest.raises(ScopeUnavailable) as raised:
            exchange(scope=lambda request: request.nothing).scope()
        assert isinstance(raised.value.__cause__, AttributeError)
        assert "AttributeError" in caplog.text

    @pytest.mark.parametrize("answer", [PermissionDenied, ScopeUnavailable])
    def test_what_is_an_answer_of_its_own_is_let_through(self, answer, caplog):
        def scope(request):
            raise answer("not yours")

        with pytest.raises(answer, match="not yours"):
            exchange(scope=scope).scope()
        assert caplog.text == ""
