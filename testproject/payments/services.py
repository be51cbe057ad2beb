"""What the API does, without HTTP. Each function is one transaction, or part of its caller's."""

from django.db import transaction

from .gateway import get_gateway
from .models import Account, LedgerEntry, Payment, Refund


class RefundTooLarge(Exception):
    """More than what is left of the payment."""


@transaction.atomic
def take_payment(*, account: Account, amount: int, card: str, charge_key: str) -> Payment:
    """The payment, paid or declined. charge_key has to be the same whenever this one is retried."""
    payment = Payment.objects.create(account=account, amount=amount, currency=account.currency, card_last4=card[-4:])
    charge = get_gateway().charge(amount=amount, card=card, idempotency_key=charge_key)
    payment.charge = charge.id
    payment.status = Payment.Status.PAID if charge.approved else Payment.Status.DECLINED
    payment.save(update_fields=["charge", "status"])
    if charge.approved:
        LedgerEntry.objects.create(account=account, payment=payment, amount=amount)
    return payment


@transaction.atomic
def book_terminal_payment(*, account: Account, amount: int, charge: str) -> Payment:
    """The payment that the gateway has taken already."""
    paid = {"status": Payment.Status.PAID, "charge": charge}
    payment = Payment.objects.create(account=account, amount=amount, currency=account.currency, **paid)
    LedgerEntry.objects.create(account=account, payment=payment, amount=amount)
    return payment


@transaction.atomic
def give_refund(*, payment: Payment, amount: int, refund_key: str) -> Refund:
    """The refund. Raises RefundTooLarge before anything is written."""
    # Two refunds at once: both would find enough left.
    payment = Payment.objects.select_for_update().get(pk=payment.pk)
    if amount > payment.refundable:
        raise RefundTooLarge
    refund = Refund.objects.create(payment=payment, amount=amount)
    refund.transfer = get_gateway().refund(amount=amount, idempotency_key=refund_key).id
    refund.save(update_fields=["transfer"])
    LedgerEntry.objects.create(account_id=payment.account_id, payment=payment, refund=refund, amount=-amount)
    return refund
