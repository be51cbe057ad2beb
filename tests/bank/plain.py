"""Plain Django views of every kind."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View

from django_idempotency import Kept, idempotent
from tests.bank.scripts import Outcome, play


def read(request: HttpRequest) -> Mapping[str, Any]:
    """Return the request's script from JSON, a form, or nothing at all."""
    if request.content_type == "application/json":
        body: dict[str, Any] = json.loads(request.body)
        return body
    return request.POST.dict() | {name: len(file.read()) for name, file in request.FILES.items()}


def answer(outcome: Outcome) -> HttpResponseBase:
    """Return the outcome as Django's response."""
    response: HttpResponseBase
    response = JsonResponse(outcome.payload, status=outcome.status, headers=outcome.headers, safe=False)
    if outcome.payload is None:
        response = HttpResponse(status=outcome.status)
    if outcome.streamed:
        response = StreamingHttpResponse(iter([b'{"streamed": ', b"true}"]), status=outcome.status)
    if outcome.cookie:
        response.set_cookie("session", "secret")
    if outcome.keep:
        raise Kept(response)
    return response


def pay(request: HttpRequest) -> HttpResponseBase:
    """Make a payment as the request says."""
    return answer(play(request, read(request)))


def ready(request: HttpRequest) -> HttpResponse:
    """Tell the tests that the server is up."""
    return HttpResponse("ready")


class PayView(View):
    """Not protected by itself."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        return pay(request)

    def post(self, request: HttpRequest) -> HttpResponseBase:
        return pay(request)


class MethodView(View):
    """Protected on the method."""

    @idempotent
    def post(self, request: HttpRequest) -> HttpResponseBase:
        return pay(request)


@method_decorator(idempotent, name="post")
class NamedView(PayView):
    """Protected by name."""


def authorized(request: HttpRequest) -> bool:
    """Refuse whoever has been banned since."""
    return "X-Test-Banned" not in request.headers


def in_outer_transaction(view: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Wrap a protected view in the caller's own transaction."""

    def outer(request: HttpRequest) -> HttpResponseBase:
        with transaction.atomic():
            return view(request)

    return outer


function = idempotent(pay)
wrapped = idempotent(PayView.as_view())
optional = idempotent(required=False)(pay)
joined = idempotent(claim="joined")(pay)
guarded = idempotent(authorize=authorized)(pay)
waiting = idempotent(wait=timedelta(seconds=10))(pay)
forgetful = idempotent(tombstone=timedelta(0))(pay)
outer = in_outer_transaction(idempotent(pay))
