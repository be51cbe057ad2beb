from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from shop.models import Invoice
from shop.subscription_access import grant
from shop.subscription_ledger import book

from django_idempotency import Respond, operation
from django_idempotency.gateways import Journaled
from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.tasks import idempotent_task

UNDECIDED = {"pending", "action-required"}


@operation
def renew(op, *, subscription, amount, currency, card):
    invoice = op.phase(open_invoice, subscription=subscription, amount=amount, currency=currency)
    cards, money = Journaled(ExampleGateway(settings.CARDS_URL, timeout=10)), {"amount": amount, "currency": currency}

    charge = op.remote(cards.charge, lookup=cards.find, **money, card=card)
    if charge["status"] != "approved":
        return op.phase(close_unpaid, invoice=invoice["id"], charge=charge)
    op.phase(book_charge, invoice=invoice["id"], charge=charge)

    # The other system keeps what was put under a key: the same again does no harm.
    access = op.remote(grant, timeout=10, key_ttl=timedelta(days=7), subscription=subscription, until=invoice["until"])
    if access["status"] != "granted":
        refund = op.remote(cards.refund, lookup=cards.find_refund, reference=charge["reference"], **money)
        return op.phase(close_unserved, invoice=invoice["id"], refund=refund)

    op.enqueue(send_receipt, invoice["id"])
    return op.phase(close_paid, invoice=invoice["id"])


def open_invoice(*, subscription, amount, currency):
    # What time it is belongs into a step: a resumed operation gets the same one.
    until = timezone.localdate() + timedelta(days=30)
    invoice = Invoice.objects.create(subscription=subscription, amount=amount, currency=currency, until=until)
    return {"id": invoice.pk, "until": until.isoformat()}


def book_charge(*, invoice, charge):
    reference = f"invoice {invoice}"
    book(reference, amount=charge["amount"], currency=charge["currency"], debit="cards", credit="sales")


def close_paid(*, invoice):
    return closed(invoice, "paid", 201)


def close_unpaid(*, invoice, charge):
    # Not decided yet is no no: the gateway's webhook tells, and closes it.
    return closed(invoice, charge["status"], 202 if charge["status"] in UNDECIDED else 402)


def close_unserved(*, invoice, refund):
    if refund["status"] != "approved":
        # It stays in the ledger until a person, or the gateway's webhook, has seen to it.
        return closed(invoice, f"refund {refund['status']}", 409)
    reference = f"invoice {invoice}, refund"
    book(reference, amount=refund["amount"], currency=refund["currency"], debit="sales", credit="cards")
    return closed(invoice, "refunded", 409)


def closed(invoice, status, code):
    Invoice.objects.filter(pk=invoice).update(status=status)
    return Respond(code, {"invoice": invoice, "status": status})


@idempotent_task(key="{invoice}", name="shop.send_receipt")
def send_receipt(invoice):
    """Write the mail."""
