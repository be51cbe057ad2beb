"""The same routes on DRF."""

from typing import Any

from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_idempotency import idempotent
from tests.conformance.fixtures import UNPROTECTED, pay, wait


def paid(request: Request, *, status: int = 201) -> Response:
    receipt = pay(request, request.data)
    response = Response(receipt, status=status, headers={"Location": f"/payments/{receipt['id']}"})
    response.set_cookie("session", str(receipt["id"]))
    return response


class Pay(APIView):
    @idempotent
    def post(self, request: Request) -> Any:
        return paid(request)


class Decline(APIView):
    @idempotent
    def post(self, request: Request) -> Any:
        return paid(request, status=402)


class Invalid(APIView):
    @idempotent
    def post(self, request: Request) -> Any:
        return paid(request, status=201 if isinstance(request.data["amount"], int) else 400)


@api_view(["POST"])
@idempotent
def slow(request: Request) -> Any:
    wait(request.data["milliseconds"])
    return paid(request)


@api_view(["POST"])
@idempotent
def crash(request: Request) -> Any:
    paid(request)
    raise RuntimeError("as it should")


urlpatterns = [
    path("pay", Pay.as_view()),
    path("decline", Decline.as_view()),
    path("invalid", Invalid.as_view()),
    path("slow", slow),
    path("crash", crash),
    *UNPROTECTED,
]
