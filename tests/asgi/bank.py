"""Coroutine views of the tests' bank. What a view does is written in the request: `{"amount": 5, "then": "raise"}`."""

import json
import uuid
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View

from django_idempotency import Kept, idempotent
from tests.asgi.points import areach
from tests.bank import runs
from tests.bank.models import Payment
from tests.support import points

SHORT = timedelta(seconds=1)


def script(request: HttpRequest) -> dict[str, Any]:
    """Return what the request asks for."""
    data: dict[str, Any] = json.loads(request.body or "{}")
    return {"then": "pay", "amount": 0, **data}


def row(request: HttpRequest) -> dict[str, Any]:
    """Return the columns of a new effect."""
    runs.note(request.headers.get("Idempotency-Key", "none"))
    return {
        "key": request.headers.get("Idempotency-Key", "none"),
        "amount": script(request)["amount"],
        "nonce": str(uuid.uuid4()),
    }


def answer(request: HttpRequest, payment: Payment) -> HttpResponse:
    """Return the answer that the script asks for, or raise."""
    then = script(request)["then"]
    if then in FAULTS:
        raise FAULTS[then]
    attempt = request.idempotency.attempt  # type: ignore[attr-defined]
    payload = {"payment": payment.pk, "nonce": payment.nonce, "attempt": attempt}
    response = JsonResponse(payload, status=int(then) if then.isdigit() else 201)
    if then == "keep":
        response.status_code = 503
        raise Kept(response)
    return response


FAULTS: dict[str, Exception] = {
    "raise": RuntimeError("a bug in the view"),
    "raise 404": Http404("no such account"),
    "raise 403": PermissionDenied("not yours"),
}


async def pay(request: HttpRequest) -> HttpResponse:
    """Make a payment that no transaction can undo."""
    payment = await Payment.objects.acreate(**row(request))
    await areach("view")
    if script(request)["then"] == "block":
        points.reach("blocked")  # in the event loop itself
    response = answer(request, payment)
    await areach("view-done")
    return response


async def ready(request: HttpRequest) -> HttpResponse:
    """Tell the tests that the server is up."""
    return HttpResponse("ready")


def book(request: HttpRequest, columns: dict[str, Any]) -> HttpResponse:
    """Make a payment in the transaction that we are called in."""
    payment = Payment.objects.create(**columns)
    points.reach("in-commit", points.backend_of(connection))
    if script(request)["then"] == "raw commit":
        with connection.cursor() as cursor:
            cursor.execute("COMMIT")
    if script(request)["then"] == "bad hook":
        transaction.on_commit(_fail)
    return answer(request, payment)


def _fail() -> None:
    raise RuntimeError("a hook that runs after the commit")


async def committing(request: HttpRequest) -> HttpResponse:
    """Make a payment together with its answer."""
    columns = row(request)
    await areach("view")
    response: HttpResponse = await request.idempotency.commit(book, request, columns)  # type: ignore[attr-defined]
    await areach("committed")
    match script(request)["then"]:
        case "raise afterwards":
            raise RuntimeError("after the commit")
        case "another answer":
            return HttpResponse("another", status=200)
    return response


class PayView(View):
    """Not protected by itself."""

    async def get(self, request: HttpRequest) -> HttpResponse:
        return await pay(request)

    async def post(self, request: HttpRequest) -> HttpResponse:
        return await pay(request)


class MethodView(View):
    """Protected on the method."""

    @idempotent
    async def post(self, request: HttpRequest) -> HttpResponse:
        return await pay(request)


@method_decorator(idempotent, name="post")
class NamedView(PayView):
    """Protected by name."""


function = idempotent(pay)
wrapped = idempotent(PayView.as_view())
rerun = idempotent(rerun=True)(pay)
brief = idempotent(lease=SHORT)(pay)
brief_rerun = idempotent(lease=SHORT, rerun=True)(pay)
optional = idempotent(required=False)(pay)
waiting = idempotent(wait=timedelta(seconds=10))(pay)
guarded = idempotent(authorize=lambda request: "X-Test-Banned" not in request.headers)(pay)
commit = idempotent(committing)
commit_rerun = idempotent(lease=SHORT, rerun=True)(committing)
commit_brief = idempotent(lease=SHORT)(committing)
commit_optional = idempotent(required=False)(committing)
