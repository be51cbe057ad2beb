import json
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from django_idempotency import idempotent
from testproject.payments.views import PaymentViewSet


class BriefPaymentViewSet(PaymentViewSet):
    """Payments whose answers are kept for a second, so that the demo can outlive one."""

    @idempotent(retention=timedelta(seconds=1))
    def create(self, request: Request) -> Response:
        return self.pay(request, charge_key=request.idempotency.derive("charge"))  # type: ignore[attr-defined]


class UnprotectedPaymentViewSet(PaymentViewSet):
    """The same payments without the decorator, to see what the scenario says of them."""

    def create(self, request: Request) -> Response:
        return self.pay(request, charge_key=str(uuid.uuid4()))


def amount_asked(request: Any) -> Decimal:
    """What the staff is told of a request's money: in euros, say, where the API speaks of cents."""
    asked: Any = request.data if isinstance(request, Request) else request.POST or json.loads(request.body)
    return Decimal(int(asked["amount"])) / 100
