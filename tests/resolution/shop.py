"""Views whose requests fail, and what they have seen of those that staff sends again."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views import View

from django_idempotency import idempotent
from tests.bank.models import Payment
from tests.settings import HAVE_DRF


class Till:
    """What the views do: `does` is called after the payment was written, and may raise, or give the status."""

    def __init__(self) -> None:
        self.does: Callable[[], int] = lambda: 201
        self.seen: list[dict[str, Any]] = []
        self.hooks: list[str] = []

    def breaks(self) -> None:
        def fail() -> int:
            raise RuntimeError("the till is broken")

        self.does = fail

    def works(self) -> None:
        self.does = lambda: 201


TILL = Till()


def charge(request: Any, asked: dict[str, Any]) -> HttpResponse:
    """Write a payment, and answer as the till does."""
    found, key = request.idempotency, request.idempotency.key or ""
    TILL.seen.append({"user": request.user.pk, "by": found.replayed_by, "dry": found.dry_run, "auth": auth_of(request)})
    payment = Payment.objects.create(key=key, amount=int(asked["amount"]), user=str(request.user.pk), nonce="")
    transaction.on_commit(lambda: TILL.hooks.append(key))
    return JsonResponse({"payment": payment.amount, "to": request.get_host()}, status=TILL.does())


def auth_of(request: Any) -> Any:
    return getattr(request, "auth", None)


def asked_of(request: HttpRequest) -> dict[str, Any]:
    if request.content_type == "application/json":
        body: dict[str, Any] = json.loads(request.body)
        return body
    return request.POST.dict()


@idempotent
def pay(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent(dry_run=True)
def try_out(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent(retention=timedelta(days=20), tombstone=timedelta(hours=1))
def patient(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent(required=False)
def optional(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent(key=lambda request: json.loads(request.body)["event"])
def delivered(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent(fingerprint=lambda request: request.headers.get("X-Channel", "") + request.body.decode())
def by_channel(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent(rerun=True)
async def coroutine(request: HttpRequest) -> HttpResponse:
    def write() -> HttpResponse:
        return charge(request, asked_of(request))

    response: HttpResponse = await request.idempotency.commit(write)  # type: ignore[attr-defined]
    return response


@idempotent
async def once(request: HttpRequest) -> HttpResponse:
    """Nothing undoes what it does, so nobody runs it twice."""
    return JsonResponse({"payment": 1}, status=TILL.does())


@idempotent("inner")
def inner(request: HttpRequest) -> HttpResponse:
    return charge(request, asked_of(request))


@idempotent
def outer(request: HttpRequest) -> HttpResponse:
    """Calls another one, which keeps its keys elsewhere."""
    return inner(request)


def bare(request: HttpRequest) -> HttpResponse:
    """Not protected."""
    raise AssertionError("nothing may run here")


class Desk(View):
    @idempotent
    def post(self, request: HttpRequest) -> HttpResponse:
        return charge(request, asked_of(request))


def user_of(scope: str) -> tuple[User, str]:
    """A PRINCIPAL: scopes are names, and each has a token."""
    user = User.objects.get(username=scope.removeprefix("name:"))
    return user, f"token of {user.username}"


urlpatterns = [
    path("pay", pay),
    path("pay/<int:counter>/<str:name>", lambda request, counter, name: pay(request)),
    path("try", try_out),
    path("optional", optional),
    path("patient", patient),
    path("delivered", delivered),
    path("channel", by_channel),
    path("coroutine", coroutine),
    path("once", once),
    path("outer", outer),
    path("bare", bare),
    path("desk", Desk.as_view()),
    *i18n_patterns(path("pay", pay)),
]

if HAVE_DRF:
    from tests.resolution.shop_api import Api

    urlpatterns.append(path("api/<str:version>/pay", Api.as_view()))
