"""DRF views of every kind."""

from datetime import timedelta
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import mixins, serializers
from rest_framework.decorators import action, api_view
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.versioning import AcceptHeaderVersioning
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from django_idempotency import Kept, idempotent
from tests.bank.drf_auth import HeaderThrottle
from tests.bank.models import Payment
from tests.bank.plain import authorized
from tests.bank.scripts import Outcome, play


def read(request: Request) -> dict[str, Any]:
    """Return the request's script, whatever it was sent as."""
    data = request.data
    if hasattr(data, "dict"):
        return {name: value.size if hasattr(value, "size") else value for name, value in data.dict().items()}
    return data if isinstance(data, dict) else {}


def answer(outcome: Outcome) -> HttpResponseBase:
    """Return the outcome as DRF's response."""
    response: HttpResponseBase = Response(outcome.payload, status=outcome.status, headers=outcome.headers)
    if outcome.streamed:
        response = StreamingHttpResponse(iter([b'{"streamed": ', b"true}"]), status=outcome.status)
    if outcome.cookie:
        response.set_cookie("session", "secret")
    if outcome.keep:
        raise Kept(response)
    return response


def pay(request: Request) -> HttpResponseBase:
    """Make a payment as the request says."""
    return answer(play(request, read(request)))


class PayView(APIView):
    """Protected on the method; browsable, as DRF's defaults have it."""

    def get(self, request: Request) -> Response:
        return Response({"payments": Payment.objects.count()})

    @idempotent
    def post(self, request: Request) -> HttpResponseBase:
        if request.headers.get("X-Test-Raise") == "403":
            play(request, read(request))
            raise PermissionDenied
        return pay(request)


class OtherPayView(PayView):
    """Another path with the same body."""


class JoinedView(APIView):
    @idempotent(claim="joined")
    def post(self, request: Request) -> HttpResponseBase:
        return pay(request)


class OptionalView(APIView):
    @idempotent(required=False)
    def post(self, request: Request) -> HttpResponseBase:
        return pay(request)


class GuardedView(APIView):
    """Refuses in initial(), and asks again before a replay."""

    permission_classes = [IsAuthenticated]
    throttle_classes = [HeaderThrottle]

    @idempotent(authorize=authorized)
    def post(self, request: Request) -> HttpResponseBase:
        return pay(request)


class WaitingView(APIView):
    @idempotent(wait=timedelta(seconds=10))
    def post(self, request: Request) -> HttpResponseBase:
        return pay(request)


class VersionedView(APIView):
    """Two versions by the Accept header; the same body is another request under another version."""

    versioning_class = AcceptHeaderVersioning

    @idempotent
    def post(self, request: Request) -> Response:
        outcome = play(request, read(request))
        return Response({**(outcome.payload or {}), "version": request.version}, status=outcome.status)


class EnvelopeView(APIView):
    """Puts every answer in an envelope, after the method has returned."""

    @idempotent
    def post(self, request: Request) -> HttpResponseBase:
        return pay(request)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(response, Response):
            response.data = {"envelope": response.data}
        return super().finalize_response(request, response, *args, **kwargs)


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    class Meta:
        model = Payment
        fields = ["id", "key", "amount", "nonce"]


class PaymentViewSet(mixins.CreateModelMixin, GenericViewSet[Payment]):
    """DRF's own create, protected, and an action."""

    queryset = Payment.objects.all()
    serializer_class = PaymentSerializer
    create = idempotent(mixins.CreateModelMixin.create)

    @action(detail=True, methods=["post"])
    @idempotent
    def refund(self, request: Request, pk: str) -> HttpResponseBase:
        return pay(request)


@api_view(["POST"])
@idempotent
def function(request: Request) -> HttpResponseBase:
    """Protected below @api_view."""
    return pay(request)
