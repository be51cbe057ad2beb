from datetime import timedelta

from django.conf import settings
from shop.models import Settlement
from shop.settlement_partners import find_payout, pay_out, quote
from shop.subscription_ledger import book

from django_idempotency import Respond, operation
from django_idempotency.gateways import Journaled
from django_idempotency.gateways.example import ExampleGateway

UNDECIDED = {"pending", "action-required"}


@operation
def settle(op, *, payee, amount, currency, payout_currency, card):
    """Take money in one currency, and pay it out in another."""
    cards, money = Journaled(ExampleGateway(settings.CARDS_URL, timeout=10)), {"amount": amount, "currency": currency}

    # A step of its own, so that there is one rate: after a crash, too. To ask again does no harm.
    quoted = op.remote(quote, lookup=quote, timeout=10, **money, into=payout_currency)
    payout = {"amount": quoted["amount"], "currency": quoted["currency"]}
    settlement = op.phase(open_settlement, payee=payee, rate=quoted["rate"], **money)

    debit = op.remote(cards.charge, lookup=cards.find, **money, card=card)
    if debit["status"] != "approved":
        return op.phase(close_unpaid, settlement=settlement, debit=debit)
    op.phase(book_debit, settlement=settlement, **money)

    credit = op.remote(pay_out, lookup=find_payout, timeout=10, key_ttl=timedelta(days=7), payee=payee, **payout)
    if credit["status"] != "paid":
        refund = op.remote(cards.refund, lookup=cards.find_refund, reference=debit["reference"], **money)
        return op.phase(close_returned, settlement=settlement, refund=refund, **money)
    return op.phase(close_settled, settlement=settlement, credit=credit, **payout)


def open_settlement(*, payee, rate, amount, currency):
    return Settlement.objects.create(payee=payee, rate=rate, amount=amount, currency=currency).pk


def book_debit(*, settlement, amount, currency):
    book(f"settlement {settlement}", amount=amount, currency=currency, debit="cards", credit="exchange")


def close_settled(*, settlement, credit, amount, currency):
    book(f"settlement {settlement}", amount=amount, currency=currency, debit="exchange", credit="bank")
    return closed(settlement, "settled", 201, reference=credit["reference"])


def close_unpaid(*, settlement, debit):
    return closed(settlement, debit["status"], 202 if debit["status"] in UNDECIDED else 402)


def close_returned(*, settlement, refund, amount, currency):
    if refund["status"] != "approved":
        return closed(settlement, f"refund {refund['status']}", 409)
    book(f"settlement {settlement}, refund", amount=amount, currency=currency, debit="exchange", credit="cards")
    return closed(settlement, "returned", 409)


def closed(settlement, status, code, **more):
    Settlement.objects.filter(pk=settlement).update(status=status)
    return Respond(code, {"settlement": settlement, "status": status, **more})
