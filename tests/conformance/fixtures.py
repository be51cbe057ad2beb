"""The fixture routes of the conformance kit, as docs/reference/conformance.md specifies them, on plain Django."""

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from django_idempotency import idempotent
from django_idempotency.testing import expire_answer, forget_key
from tests.bank.models import Payment


def principal(request: Any) -> str:
    """Return who is asking: the bearer's name."""
    return str(request.headers["Authorization"]).removeprefix("Bearer ")


def pay(request: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Take effect once, and return what no other run would."""
    payment = Payment.objects.create(key=request.idempotency.key, user=principal(request), nonce=uuid.uuid4())
    return {"id": payment.nonce, "amount": body["amount"]}


def wait(milliseconds: int) -> None:
    """Take as long as a slow request does."""
    threading.Event().wait(milliseconds / 1000)


def paid(request: HttpRequest, *, status: int = 201) -> HttpResponse:
    receipt = pay(request, json.loads(request.body))
    response = JsonResponse(receipt, status=status, headers={"Location": f"/payments/{receipt['id']}"})
    response.set_cookie("session", str(receipt["id"]))
    return response


@idempotent
def post_pay(request: HttpRequest) -> HttpResponse:
    return paid(request)


@idempotent
def post_decline(request: HttpRequest) -> HttpResponse:
    return paid(request, status=402)


@idempotent
def post_invalid(request: HttpRequest) -> HttpResponse:
    numeric = isinstance(json.loads(request.body)["amount"], int)
    return paid(request, status=201 if numeric else 400)


@idempotent
def post_slow(request: HttpRequest) -> HttpResponse:
    wait(json.loads(request.body)["milliseconds"])
    return paid(request)


@idempotent
def post_crash(request: HttpRequest) -> HttpResponse:
    paid(request)
    raise RuntimeError("as it should")


@require_GET
def get_effects(request: HttpRequest) -> HttpResponse:
    count = Payment.objects.filter(key=request.GET["key"], user=principal(request)).count()
    return JsonResponse({"effects": count})


def moving(move: Callable[[str], None]) -> Callable[[HttpRequest], HttpResponse]:
    """Return an optional route that moves a key's clock."""

    @require_POST
    def view(request: HttpRequest) -> HttpResponse:
        move(request.GET["key"])
        return HttpResponse(status=204)

    return view


UNPROTECTED = [
    path("effects", get_effects),
    path("expire", moving(expire_answer)),
    path("forget", moving(forget_key)),
]
urlpatterns = [
    path("pay", post_pay),
    path("decline", post_decline),
    path("invalid", post_invalid),
    path("slow", post_slow),
    path("crash", post_crash),
    *UNPROTECTED,
]
