"""Where `idempotent` may be put on coroutines, what it gives them, and what is checked of them."""

import functools
import importlib.util
import json
import types
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, SynchronousOnlyOperation
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, AsyncRequestFactory, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from django_idempotency import Kept, idempotent, signals
from django_idempotency.checks import check_coroutines
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.asgi import bank
from tests.bank.models import Payment

pytestmark = pytest.mark.django_db(transaction=True)


@method_decorator(idempotent(lease=timedelta(seconds=90)), name="post")
class WithArguments(bank.PayView):
    pass


@method_decorator(idempotent, name="dispatch")
class OnDispatch(bank.PayView):
    """Django's dispatch() is no coroutine function itself."""


class ByMethodDecorator(View):
    @method_decorator(idempotent)
    async def post(self, request: Any) -> HttpResponse:
        return await bank.pay(request)


PLACES = {
    "a function": bank.function,
    "a method": bank.MethodView.as_view(),
    "by name": bank.NamedView.as_view(),
    "by name, with arguments": WithArguments.as_view(),
    "by method_decorator": ByMethodDecorator.as_view(),
    "round as_view": bank.wrapped,
    "a partial": functools.partial(bank.function),
    "committing": bank.commit,
}


def post(view: Any, then: str = "pay", *, key: str | None = "abc", method: str = "POST") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    body = json.dumps({"then": then})
    request = AsyncRequestFactory().generic(method, "/pay", body, content_type="application/json", headers=headers)
    return async_to_sync(view)(request)


def at(view: Any) -> Any:
    """Settings under which the project consists of one view."""
    urlconf = types.ModuleType("urlconf")
    urlconf.urlpatterns = [path("pay", view)]  # type: ignore[attr-defined]
    return override_settings(ROOT_URLCONF=urlconf)


def code(response: Any) -> str:
    return str(json.loads(response.content)["code"])


@pytest.mark.parametrize("place", PLACES)
def test_a_retry_gets_the_first_answer_in_every_place(place: str) -> None:
    first, again = post(PLACES[place]), post(PLACES[place])
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert Payment.objects.count() == 1


@pytest.mark.parametrize("place", PLACES)
def test_django_takes_it_for_a_coroutine(place: str) -> None:
    with at(PLACES[place]):
        answer = async_to_sync(AsyncClient().post)(
            "/pay", {"then": "pay"}, content_type="application/json", headers={"Idempotency-Key": "abc"}
        )
    assert answer.status_code == 201
    assert iscoroutinefunction(PLACES[place])


def test_a_coroutine_in_a_drf_view_is_refused_before_anything_is_claimed() -> None:
    if importlib.util.find_spec("rest_framework") is None:
        pytest.skip("without Django REST framework")
    from rest_framework.views import APIView, Request

    request = Request(AsyncRequestFactory().post("/pay", headers={"Idempotency-Key": "abc"}))
    request.parser_context = {"view": APIView()}
    with pytest.raises(ImproperlyConfigured, match="no coroutine views"):
        async_to_sync(bank.function)(request)
    assert not IdempotencyRecord.objects.exists()


def test_dispatch_of_coroutines_is_refused_and_runs_nothing() -> None:
    # Where asgiref calls it in the event loop, Django refuses the claim before we can say why.
    with pytest.raises((ImproperlyConfigured, SynchronousOnlyOperation), match=r"returned a coroutine|async context"):
        post(OnDispatch.as_view())
    assert not Payment.objects.exists()
    assert not IdempotencyRecord.objects.exists()


def test_a_view_inside_itself_is_refused() -> None:
    @idempotent
    async def outer(request: Any) -> Any:
        return await bank.function(request)

    with pytest.raises(ImproperlyConfigured, match="calls another that is"):
        post(outer)


def test_what_is_idempotent_already_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="idempotent already"):
        idempotent(bank.function)


def test_an_outer_transaction_is_refused() -> None:
    with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="inside a database transaction"):
        post(bank.function)


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("view", [bank.function, bank.commit])
def test_the_transaction_of_a_test_is_none(view: Any) -> None:
    assert [post(view).status_code for _ in range(2)] == [201, 201]
    assert Payment.objects.count() == 1


class TestInside:
    def test_the_view_knows_its_key_and_its_attempt(self) -> None:
        @idempotent
        async def view(request: Any) -> HttpResponse:
            found = request.idempotency
            return JsonResponse({"key": found.key, "attempt": found.attempt, "charge": found.derive("charge")})

        answer = json.loads(post(view).content)
        assert (answer["key"], answer["attempt"], len(answer["charge"])) == ("abc", 1, 36)

    @pytest.mark.parametrize(("key", "method"), [(None, "POST"), ("abc", "GET")])
    def test_without_a_key_commit_is_a_transaction(self, key: str | None, method: str) -> None:
        assert post(bank.commit_optional, key=key, method=method).status_code == 201
        with pytest.raises(RuntimeError, match="a bug"):
            post(bank.commit_optional, "raise", key=key, method=method)
        assert Payment.objects.count() == 1
        assert not IdempotencyRecord.objects.exists()

    def test_kept_is_kept_inside_and_outside_of_commit(self) -> None:
        for key, view in {"outside": bank.function, "inside": bank.commit}.items():
            answers = [post(view, "keep", key=key) for _ in range(2)]
            assert [answer.status_code for answer in answers] == [503, 503]
        assert Payment.objects.count() == 2

    def test_a_late_hook_changes_nothing(self) -> None:
        assert [post(bank.commit, "bad hook").status_code for _ in range(2)] == [201, 201]

    def test_authorize_holds_on_a_replay(self) -> None:
        banned = idempotent(authorize=lambda request: not IdempotencyRecord.objects.exists())(bank.pay)
        assert post(banned).status_code == 201
        with pytest.raises(PermissionDenied):
            post(banned)


class TestTold:
    @pytest.fixture(autouse=True)
    def heard(self) -> Iterator[list[str]]:
        heard: list[str] = []
        names = ("claimed", "completed", "released", "replayed", "rejected", "missing")
        receivers = {}
        for name in names:
            receivers[name] = lambda name=name, **_: heard.append(name)
            getattr(signals, name).connect(receivers[name])
        yield heard
        for name in names:
            getattr(signals, name).disconnect(receivers[name])

    @pytest.mark.parametrize(
        ("view", "then", "told"),
        [
            (bank.function, "pay", ["claimed", "completed", "replayed"]),
            (bank.commit, "pay", ["claimed", "completed", "replayed"]),
            (bank.function, "400", ["claimed", "released"] * 2),
            (bank.rerun, "raise", ["claimed", "released"] * 2),
            (bank.function, "raise", ["claimed", "rejected"]),
        ],
    )
    def test_the_signals_are_those_of_any_view(self, heard: list[str], view: Any, then: str, told: list[str]) -> None:
        for _ in range(2):
            try:
                post(view, then)
            except RuntimeError:
                assert then == "raise"
        assert heard == told

    @pytest.mark.parametrize(
        ("view", "then", "kind"),
        [
            (bank.function, "raise", ["unknown"]),
            (bank.function, "raise 404", ["unknown"]),
            (bank.rerun, "raise", ["failed"]),
            (bank.rerun, "raise 403", []),
            (bank.rerun, "503", ["failed"]),
            (bank.function, "400", []),
            (bank.commit, "503", ["failed"]),
        ],
    )
    def test_the_staff_learns_of_what_went_wrong(self, view: Any, then: str, kind: list[str]) -> None:
        with suppress(*map(type, bank.FAULTS.values())):
            post(view, then)
        assert list(IdempotencyIncident.objects.values_list("kind", flat=True)) == kind


class Committing(View):
    @idempotent
    async def post(self, request: Any) -> Any:
        return await self.work(request)

    async def work(self, request: Any) -> Any:
        return await request.idempotency.commit(HttpResponse)


@idempotent
async def plain(request: Any) -> HttpResponse:
    raise Kept(HttpResponse())


@idempotent
async def indirect(request: Any) -> Any:
    return await bank.committing(request)


class TestCheck:
    def warned(self, view: Any) -> bool:
        with at(view):
            found = check_coroutines(None)
        assert [message.id for message in found] in ([], ["django_idempotency.W005"])
        return bool(found)

    @pytest.mark.parametrize("view", [plain, PLACES["a method"], PLACES["by name"], PLACES["round as_view"]])
    def test_a_view_that_can_only_end_unknown_is_warned_of(self, view: Any) -> None:
        assert self.warned(view)

    @pytest.mark.parametrize("view", [bank.commit, bank.rerun, bank.commit_rerun, Committing.as_view()])
    def test_one_that_commits_or_vouches_is_not(self, view: Any) -> None:
        assert not self.warned(view)

    def test_one_that_is_no_coroutine_is_not(self) -> None:
        assert not self.warned(idempotent(lambda request: HttpResponse()))

    def test_what_another_module_does_is_not_seen(self) -> None:
        assert self.warned(indirect)
