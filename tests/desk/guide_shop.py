"""The shop of the operator's guide: one view for payments, and what a morning has left of them."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from django.utils import timezone

from django_idempotency import idempotent, resolution
from django_idempotency.maintenance import recover
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.bank.models import Payment
from tests.desk.situations import answered, operation

PROFILE = {"AMOUNT": "/amount", "CURRENCY": "/currency"}
PATH = "/api/payments/"
MARIA = resolution.Actor(name="maria", id="77", address="10.4.0.23")
CUSTOMER = 1041
BEGINNING = datetime(2026, 5, 4, 14, 20, tzinfo=UTC)


class GatewayTimeout(Exception):
    """Nobody has answered."""


class Till:
    works = True


@idempotent
def pay(request: HttpRequest) -> HttpResponse:
    asked = json.loads(request.body)
    if not Till.works:
        raise GatewayTimeout
    payment = Payment.objects.create(key=asked["order"], amount=int(Decimal(asked["amount"]) * 100), nonce="")
    paid = {"payment": payment.pk, "order": payment.key, "status": "paid"}
    return JsonResponse({**paid, "amount": asked["amount"], "currency": asked["currency"]}, status=201)


urlpatterns = [path("admin/", admin.site.urls), path(PATH[1:], pay)]


class Customer:
    """Whose requests these are: `user:1041` and so on."""

    def __init__(self, number: int) -> None:
        self.client = Client(raise_request_exception=False, headers={"User-Agent": "shop-web/4.2"})
        self.client.force_login(User.objects.create(pk=number, username=f"customer {number}"))

    def pay(self, order: str, amount: str, status: int = 201, **more: Any) -> IdempotencyRecord:
        """Send a payment; the record of its key, where there is one now."""
        asked = {"order": order, "amount": amount, "currency": "EUR", **more}
        sent = self.client.post(PATH, json.dumps(asked), "application/json", headers={"Idempotency-Key": order})
        assert sent.status_code == status, sent.content
        return IdempotencyRecord.objects.filter(key=order).first() or IdempotencyRecord()


def back(found: IdempotencyRecord | IdempotencyIncident, **age: float) -> Any:
    """Say that it was so long ago."""
    at = timezone.now() - timedelta(**age)
    if isinstance(found, IdempotencyIncident):
        times = {"first_seen": at, "last_seen": at + timedelta(seconds=40 * (found.counter - 1))}
    else:
        times = {"claimed_at": at, "completed_at": found.completed_at and at + timedelta(milliseconds=84)}
    type(found)._base_manager.filter(pk=found.pk).update(**times)
    found.refresh_from_db()
    return found


def incident(order: str) -> IdempotencyIncident:
    return IdempotencyIncident.objects.get(key=order)


def died(customer: Customer, order: str, amount: str, **age: float) -> IdempotencyRecord:
    """A payment whose process was killed before it had committed anything: its claim is left."""
    with transaction.atomic():
        left = customer.pay(order, amount)
        transaction.set_rollback(True)
    left.state, left.token, left.claimed_at = "processing", 0, timezone.now() - timedelta(**age)
    left.status = left.body = left.completed_at = left.expires_at = left.forget_at = None
    left.headers, left.claim = "", 8055132488356425206
    left.save(force_insert=True)
    return left


class Clock:
    """
    Ours, which stands still, and can be put back; see `clock` in the test.

    Databases that have a clock of their own go by that, and all of it happens at once there.
    """

    def __init__(self) -> None:
        self.at = BEGINNING

    def back(self, **time: float) -> None:
        self.at = BEGINNING - timedelta(**time)


def morning(clock: Clock) -> SimpleNamespace:
    """What is at the desk when the guide begins, by the tasks that it is for."""
    Till.works = True
    ada, ben, cleo = Customer(CUSTOMER), Customer(1187), Customer(1203)
    back(ada.pay("order-20418", "48.50"), hours=2, minutes=21)
    for _ in range(2):
        ada.pay("order-20418", "84.50", status=422)
    refused = back(incident("order-20418"), hours=2, minutes=20)
    crashed = died(ben, "order-20397", "129.00", hours=4, minutes=12)
    recover()
    settled = _settled(cleo, clock)
    _rest(ben)
    stuck = died(ada, "order-20431", "32.00", minutes=41)
    back(incident("order-20397"), hours=4, minutes=6)
    return SimpleNamespace(refused=refused, crashed=crashed, settled=settled, stuck=stuck)


def _settled(customer: Customer, clock: Clock) -> IdempotencyIncident:
    """What another member of staff has decided."""
    back(customer.pay("order-20344", "18.00"), hours=9)
    customer.pay("order-20344", "36.00", status=422)
    found = back(incident("order-20344"), hours=8, minutes=59)
    clock.back(hours=5, minutes=12)
    resolution.assign(found.pk, to=MARIA, seen="", actor=MARIA)
    clock.back(hours=5, minutes=10)
    resolution.reveal_incident(found.pk, reason="ticket 8114: which amount did she see?", actor=MARIA)
    reason = "ticket 8114: the customer has ordered one, and says so"
    clock.back(hours=4, minutes=36)
    resolution.original_stands(found.pk, counter=found.counter, reason=reason, actor=MARIA)
    clock.back()
    return found


def _rest(customer: Customer) -> None:
    """What else there is on any day."""
    operation()
    Till.works = False
    customer.pay("order-20402", "77.00", status=500)
    Till.works = True
    back(incident("order-20402"), hours=3)
    for number in range(8):
        answered(timedelta(minutes=7 * number + 2), key=f"order-{20440 - number}", amount=Decimal("9.50") + 4 * number)
