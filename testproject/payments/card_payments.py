"""
A payment through a gateway: a durable operation.

No transaction is open while the gateway works. Whenever the worker dies, upkeep or the client's retry goes on from the last
step that was committed; the gateway knows the charge by a key that is the same in every attempt.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from django_idempotency import Respond, operation
from django_idempotency.gateways import Journaled

from .models import Account, LedgerEntry, Payment
from .tasks import send_receipt

TIMEOUT = 2.0
"""Seconds."""


@operation
def pay_by_card(op: Any, *, account: int, amount: int, card: str) -> Respond:
    """`card` is the gateway's token: the number of a card must not be in a journal."""
    payment = op.phase(reserve, account=account, amount=amount)
    gateway = card_gateway()
    money = {"amount": amount, "currency": payment["currency"]}
    charge = op.remote(gateway.charge, lookup=gateway.find, **money, card=card)
    if charge["status"] != "approved":
        refused: Respond = op.phase(leave_unpaid, payment=payment["id"], charge=charge)
        return refused
    op.enqueue(send_receipt, payment["id"])
    paid: Respond = op.phase(record, payment=payment["id"], charge=charge)
    return paid


def reserve(*, account: int, amount: int) -> dict[str, Any]:
    currency = Account.objects.get(pk=account).currency
    payment = Payment.objects.create(account_id=account, amount=amount, currency=currency)
    return {"id": payment.pk, "currency": currency}


def record(*, payment: int, charge: dict[str, Any]) -> Respond:
    paid = Payment.objects.get(pk=payment)
    paid.status, paid.charge = Payment.Status.PAID, charge["reference"]
    paid.save(update_fields=["status", "charge"])
    LedgerEntry.objects.create(account_id=paid.account_id, payment=paid, amount=charge["amount"])
    return Respond(201, _told(paid))


def leave_unpaid(*, payment: int, charge: dict[str, Any]) -> Respond:
    """Declined, or not decided yet: then the gateway's webhook tells, and until then nobody guesses."""
    unpaid = Payment.objects.get(pk=payment)
    unpaid.charge = charge["reference"] or ""
    undecided = charge["status"] in {"pending", "action-required"}
    unpaid.status = Payment.Status.PENDING if undecided else Payment.Status.DECLINED
    unpaid.save(update_fields=["status", "charge"])
    return Respond(202 if undecided else 402, _told(unpaid))


def card_gateway() -> Journaled:
    adapter = import_string(settings.PAYMENTS_CARD_GATEWAY)
    # As long as it remembers a key, a charge may be sent again.
    return Journaled(adapter(settings.PAYMENTS_CARD_GATEWAY_URL, timeout=TIMEOUT, key_ttl=timedelta(hours=24)))


def _told(payment: Payment) -> dict[str, Any]:
    names = ("id", "amount", "currency", "status", "charge")
    return {"account": payment.account_id, **{name: getattr(payment, name) for name in names}}
