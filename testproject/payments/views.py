from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework import mixins, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from django_idempotency import idempotent

from .card_payments import pay_by_card
from .models import Account, Payment, Refund
from .serializers import AccountSerializer, CardPaymentSerializer, PaymentSerializer, RefundSerializer


class AccountViewSet(viewsets.ReadOnlyModelViewSet[Account]):
    serializer_class = AccountSerializer

    def get_queryset(self) -> QuerySet[Account]:
        return Account.objects.filter(owner=self.request.user.pk).order_by("id")


class PaymentViewSet(viewsets.ReadOnlyModelViewSet[Payment]):
    serializer_class = PaymentSerializer

    def get_queryset(self) -> QuerySet[Payment]:
        return Payment.objects.filter(account__owner=self.request.user.pk).order_by("id")

    # +-- This view calls a gateway ----------------------------------------------------------+
    # | A gateway is outside the transaction: if the worker dies after the charge, our rows   |
    # | are rolled back and the charge is not. derive("charge") is the same for every attempt |
    # | under one Idempotency-Key; the gateway, given it as its own key, charges once.        |
    # +---------------------------------------------------------------------------------------+
    @idempotent
    def create(self, request: Request) -> Response:
        return self.pay(request, charge_key=request.idempotency.derive("charge"))  # type: ignore[attr-defined]

    def pay(self, request: Request, *, charge_key: str) -> Response:
        serializer = self.get_serializer(data=request.data)
        # Raises: a 400 is not kept, and its key is free for the corrected payment.
        serializer.is_valid(raise_exception=True)
        payment = serializer.save(charge_key=charge_key)
        # Returned: a declined card is an outcome, and is kept like a paid one.
        paid = payment.status == Payment.Status.PAID
        code = status.HTTP_201_CREATED if paid else status.HTTP_402_PAYMENT_REQUIRED
        return Response(serializer.data, status=code)


class CardPaymentViewSet(viewsets.GenericViewSet[Payment]):
    """The same through a gateway over HTTP, in steps: nothing is open while it works, and what has died goes on."""

    serializer_class = CardPaymentSerializer

    def create(self, request: Request) -> HttpResponse:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        return pay_by_card.respond(request, account=asked["account"].pk, amount=asked["amount"], card=asked["card"])


class RefundViewSet(mixins.CreateModelMixin, viewsets.ReadOnlyModelViewSet[Refund]):
    serializer_class = RefundSerializer
    # A method that DRF brings along is decorated like this.
    create = idempotent(mixins.CreateModelMixin.create)

    def get_queryset(self) -> QuerySet[Refund]:
        return Refund.objects.filter(payment__account__owner=self.request.user.pk).order_by("id")

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        serializer.save(refund_key=self.request.idempotency.derive("refund"))  # type: ignore[attr-defined]
