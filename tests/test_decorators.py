"""Where `idempotent` may be put, and what it gives the view and its project."""

import functools
import json
import sys
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse, JsonResponse
from django.test import RequestFactory, override_settings
from django.utils.decorators import method_decorator
from django.views import View

from django_idempotency import Kept, idempotent
from django_idempotency.core.keys import derive, record_id
from django_idempotency.models import IdempotencyRecord
from django_idempotency.services import shortened
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db


def pay(request, *args, **kwargs):
    """Make a payment and answer with its number."""
    payment = Payment.objects.create(key=request.headers.get("Idempotency-Key", ""), nonce="")
    return JsonResponse({"payment": payment.pk, "args": args, "kwargs": kwargs}, status=201)


class Pay(View):
    def post(self, request, *args, **kwargs):
        return pay(request, *args, **kwargs)

    put = delete = get = post


class OnMethod(View):
    @idempotent
    def post(self, request, *args, **kwargs):
        return pay(request, *args, **kwargs)


class OnMethodWithArguments(View):
    @idempotent("webhooks", retention=timedelta(days=7))
    def post(self, request, *args, **kwargs):
        return pay(request, *args, **kwargs)


@method_decorator(idempotent, name="post")
class ByName(Pay):
    pass


@method_decorator(idempotent(wait=timedelta(0)), name="dispatch")
class OnDispatch(Pay):
    pass


class ByMethodDecorator(View):
    @method_decorator(idempotent)
    def post(self, request, *args, **kwargs):
        return pay(request, *args, **kwargs)


def watched(view):
    """A decorator that hides whatever it is put round."""

    @functools.wraps(view)
    def inner(request, *args, **kwargs):
        return view(request, *args, **kwargs)

    return inner


class PayObject:
    def __call__(self, request, *args, **kwargs):
        return pay(request, *args, **kwargs)


PLACES = {
    "a function": idempotent(pay),
    "a function, called": idempotent()(pay),
    "a profile's name": idempotent("webhooks")(pay),
    "arguments": idempotent(retention=timedelta(days=7))(pay),
    "a method": OnMethod.as_view(),
    "a method, with arguments": OnMethodWithArguments.as_view(),
    "round as_view": idempotent(Pay.as_view()),
    "by name": ByName.as_view(),
    "on dispatch": OnDispatch.as_view(),
    "by method_decorator": ByMethodDecorator.as_view(),
    "below another decorator": watched(idempotent(pay)),
    "above another decorator": idempotent(watched(pay)),
    "a partial": functools.partial(idempotent(pay)),
}


@pytest.fixture(autouse=True)
def profiles(settings):
    settings.IDEMPOTENCY = {"webhooks": {}}


def post(view, *args, key="abc", method="post", body=b"amount=5", **kwargs):
    headers = {"Idempotency-Key": key} if key else {}
    request = getattr(RequestFactory(), method)("/pay", body, content_type="text/plain", headers=headers)
    return view(request, *args, **kwargs)


def code(response):
    assert response["Content-Type"] == "application/problem+json"
    return json.loads(response.content)["code"]


@pytest.mark.parametrize("view", PLACES.values(), ids=PLACES)
class TestPlaces:
    def test_it_runs_once_and_is_replayed(self, view):
        first, again = post(view), post(view)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.content == again.content
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        assert Payment.objects.count() == 1

    def test_what_the_url_captured_is_handed_on(self, view):
        shown = json.loads(post(view, 7, account="a").content)
        assert (shown["args"], shown["kwargs"]) == ([7], {"account": "a"})

    def test_another_payload_is_refused(self, view):
        post(view)
        assert code(post(view, body=b"amount=6")) == "key-reused"

    def test_a_request_without_a_key_is_refused(self, view):
        refused = post(view, key=None)
        assert (refused.status_code, code(refused)) == (400, "key-missing")
        assert "Idempotency-Key" in json.loads(refused.content)["detail"]
        assert Payment.objects.count() == 0


class TestRefusedPlaces:
    @pytest.mark.parametrize("view", [PLACES["a function"], OnDispatch.as_view(), watched(idempotent(pay))])
    def test_what_is_idempotent_already_is_refused_at_import(self, view):
        """The inner one would find its key in flight, with the outer."""
        with pytest.raises(ImproperlyConfigured, match="idempotent already"):
            idempotent(view)

    @pytest.mark.parametrize("view", [Pay, 7, None, [pay]])
    def test_what_is_no_view_function_is_refused_at_import(self, view):
        with pytest.raises(TypeError, match="goes on a view function or a method"):
            idempotent(view)

    def test_a_class_is_refused_below_a_profile_too(self):
        with pytest.raises(TypeError):
            idempotent("webhooks")(Pay)

    @pytest.mark.parametrize("args", [(), (7,), (7, 8)])
    def test_a_call_without_a_request_is_a_type_error(self, args):
        with pytest.raises(TypeError, match="not called with a request"):
            idempotent(pay)(*args)

    def test_an_unknown_profile_is_told_at_the_first_request(self):
        with pytest.raises(ImproperlyConfigured, match="no profile 'webhook'; did you mean 'webhooks'"):
            post(idempotent("webhook")(pay))

    def test_what_it_is_put_on_keeps_its_name(self):
        assert idempotent(pay).__name__ == "pay"
        assert idempotent(pay).__doc__ == pay.__doc__

    def test_an_object_that_can_be_called_is_a_view(self):
        view = idempotent(PayObject())
        assert post(view).content == post(view).content

    def test_it_goes_on_a_view_before_drf_is_imported(self, monkeypatch):
        for name in [name for name in sys.modules if name.startswith("rest_framework")]:
            monkeypatch.delitem(sys.modules, name)
        view = idempotent(pay)
        assert post(view).content == post(view).content


class TestOneInsideTheOther:
    class Override(OnMethod):
        @idempotent
        def post(self, request, *args, **kwargs):
            return super().post(request, *args, **kwargs)

    class Twice(OnMethod):
        def post(self, request, *args, **kwargs):
            return [super(TestOneInsideTheOther.Twice, self).post(request) for _ in range(2)][1]

    def test_an_inner_one_under_the_same_key_is_refused_and_leaves_nothing(self):
        view = self.Override.as_view()
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured, match="super"):
                post(view)
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)

    def test_an_inner_one_under_another_profile_has_its_own_record(self):
        @idempotent("webhooks")
        def outer(request):
            return OnMethod.as_view()(request)

        assert (post(outer).status_code, Payment.objects.count()) == (201, 1)
        assert IdempotencyRecord.objects.count() == 2

    @pytest.mark.parametrize("inner", [idempotent("webhooks")(pay), idempotent(required=False)(pay)])
    def test_the_outer_ones_key_for_a_gateway_is_the_same_after_the_inner_one(self, inner, rf):
        """In the next attempt the inner one may be replayed, and nothing else may change then."""
        derived = []

        @idempotent(key=lambda request: "outer")
        def outer(request):
            derived.append(request.idempotency.derive("charge"))
            inner(request)
            derived.append(request.idempotency.derive("charge"))
            return HttpResponse(status=503)

        headers = {"Idempotency-Key": "abc"} if inner.idempotent.profile == "webhooks" else {}
        for _ in range(2):
            outer(rf.post("/pay", b"x", content_type="text/plain", headers=headers))
        assert len(derived) == 4
        assert len(set(derived)) == 1

    def test_one_after_the_other_is_a_replay(self):
        assert post(self.Twice.as_view())["Idempotent-Replayed"] == "true"
        assert Payment.objects.count() == 1

    def test_an_attempt_that_failed_is_over(self, rf):
        request, failures = rf.post("/pay", headers={"Idempotency-Key": "abc"}), iter([ValueError("down")])

        @idempotent
        def once(request):
            for error in failures:
                raise error
            return pay(request)

        with pytest.raises(ValueError, match="down"):
            once(request)
        assert once(request).status_code == 201


class TestMethods:
    @pytest.mark.parametrize("method", ["get", "head", "options", "trace"])
    def test_a_safe_method_ignores_the_header(self, method):
        view = idempotent(pay)
        for key in ("abc", "abc", None, ""):
            request = getattr(RequestFactory(), method)("/pay", headers={} if key is None else {"Idempotency-Key": key})
            assert view(request).status_code == 201
            assert request.idempotency.key is None
        assert Payment.objects.count() == 4

    @pytest.mark.parametrize("method", ["put", "patch", "delete"])
    def test_any_other_is_protected(self, method):
        view = idempotent(pay)
        assert post(view, method=method).content == post(view, method=method).content
        assert code(post(view)) == "key-reused"

    def test_kept_ends_a_safe_view_too(self):
        def view(request):
            raise Kept(HttpResponse("kept"))

        assert idempotent(view)(RequestFactory().get("/pay")).content == b"kept"


class TestWithoutKey:
    def test_where_none_is_required_it_runs_each_time(self):
        view = idempotent(required=False)(pay)
        assert post(view, key=None).status_code == post(view, key=None).status_code == 201
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (2, 0)

    def test_one_that_is_there_is_honoured(self):
        view = idempotent(required=False)(pay)
        assert post(view).content == post(view).content

    def test_one_that_is_there_and_bad_is_refused(self):
        assert code(post(idempotent(required=False)(pay), key=" ")) == "key-invalid"

    def test_the_header_that_is_missing_is_named(self):
        with override_settings(IDEMPOTENCY={"default": {"HEADER": "X-Request-Key"}}):
            assert "X-Request-Key" in json.loads(post(idempotent(pay)).content)["detail"]

    def test_kept_ends_an_unprotected_view_too(self):
        def view(request):
            raise Kept(HttpResponse("kept", status=503))

        assert post(idempotent(required=False)(view), key=None).status_code == 503


class TestOutcomes:
    def run(self, end, **choices):
        """Make a payment, end as told, and do it again; both answers."""

        def view(request):
            pay(request)
            return end()

        view = idempotent(**choices)(view)
        return post(view), post(view)

    def test_a_returned_outcome_is_kept(self):
        first, again = self.run(lambda: HttpResponse("declined", status=402))
        assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (402, 402, "true")
        assert Payment.objects.count() == 1

    @pytest.mark.parametrize("status", [400, 409, 429, 500, 503])
    def test_what_is_not_kept_goes_out_and_leaves_nothing(self, status):
        answers = self.run(lambda: HttpResponse(b"as it is", status=status))
        assert [(answer.status_code, answer.content) for answer in answers] == [(status, b"as it is")] * 2
        assert "Idempotent-Replayed" not in answers[1]
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)

    @pytest.mark.parametrize("error", [RuntimeError, Http404, PermissionDenied, SystemExit])
    def test_what_is_raised_comes_out_unchanged_and_leaves_nothing(self, error):
        def fail():
            raise error("why")

        with pytest.raises(error, match="why"):
            self.run(fail)
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)

    def test_kept_keeps_an_answer_from_any_depth(self):
        def service():
            raise Kept(HttpResponse("the bank said no", status=503))

        first, again = self.run(service)
        assert (first.status_code, again.status_code, again.content) == (503, 503, b"the bank said no")
        assert Payment.objects.count() == 1

    def test_kept_undoes_the_blocks_that_it_leaves(self):
        def service():
            with transaction.atomic():
                Payment.objects.create(nonce="")
                raise Kept(HttpResponse(status=402))

        self.run(service)
        assert Payment.objects.count() == 1

    def test_keep_changes_the_rule_for_one_view(self):
        answers = self.run(lambda: HttpResponse(status=503), keep=lambda request, response: True)
        assert answers[1]["Idempotent-Replayed"] == "true"

    def test_a_view_that_returns_no_response_leaves_nothing(self):
        with pytest.raises(AttributeError):
            self.run(lambda: None)
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)


class TestInTheView:
    def idempotency(self, key="abc", **choices):
        seen = []

        def view(request):
            seen.append(request.idempotency)
            return HttpResponse()

        post(idempotent(**choices)(view), key=key)
        return seen[0]

    def test_the_view_finds_its_key_its_record_and_its_attempt(self):
        found, record = self.idempotency(), record_id("default", "anonymous", "abc")
        assert (found.key, found.id, found.attempt) == ("abc", record, 1)
        assert IdempotencyRecord.objects.get().pk == record

    def test_derive_is_the_same_in_every_attempt(self):
        derived = self.idempotency().derive("charge")
        IdempotencyRecord.objects.all().delete()
        assert (
            self.idempotency().derive("charge") == derived == derive(record_id("default", "anonymous", "abc"), "charge")
        )

    def test_without_a_key_derive_is_the_same_within_the_request_only(self):
        one, other = (self.idempotency(key=None, required=False) for _ in range(2))
        assert (one.key, one.id, one.attempt) == (None, None, 1)
        assert one.derive("charge") == one.derive("charge") != other.derive("charge")
        assert len(one.derive("charge")) == 36


@pytest.mark.parametrize(("key", "log"), [("abc", "…"), ("12345678", "…"), ("123456789", "1234…")])
def test_a_key_is_shortened_for_the_log(key, log):
    assert shortened(key) == log
