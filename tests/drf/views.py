"""A payment, and a view class made of one method."""

from rest_framework.response import Response
from rest_framework.views import APIView

from django_idempotency import idempotent
from tests.bank.models import Payment


def pay(request, *args, **kwargs):
    """Make a payment and answer with its number and what was asked."""
    payment = Payment.objects.create(key=request.headers.get("Idempotency-Key", ""), nonce="")
    return Response({"payment": payment.pk, "kwargs": kwargs}, status=201)


def view_of(method=pay, *, choices=None, **members):
    """Return an APIView whose protected post() is the given function of the request."""

    @idempotent(**(choices or {}))
    def post(self, request, *args, **kwargs):
        return method(request, *args, **kwargs)

    return type("Payments", (APIView,), {"post": post, **members}).as_view()
