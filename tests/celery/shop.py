"""The tasks of the tests: every run is noted, writes one effect, and then does what it was told."""

import uuid
from typing import Any

from celery import shared_task
from django.db import connection

from django_idempotency.tasks import idempotent_task
from tests.bank import runs
from tests.bank.models import Payment
from tests.support import points


def paid(key: str, amount: int) -> dict[str, Any]:
    """Return the outcome of a new payment."""
    runs.note(key)
    payment = Payment.objects.create(key=key, amount=amount, nonce=str(uuid.uuid4()))
    points.reach("view")
    return {"nonce": payment.nonce, "amount": amount}


@idempotent_task(key="{key}", name="shop.pay", max_retries=20)
def pay(key: str, amount: int = 5, then: str = "") -> Any:
    """Pay, and then do something else as well."""
    outcome = paid(key, amount)
    if then == "return no JSON":
        return {key}
    if then == "commit":
        connection.cursor().execute("COMMIT")
    if then == "fail":
        raise ValueError(then)
    return outcome


@idempotent_task(
    key=lambda key: key,
    name="shop.insist",
    bind=True,
    autoretry_for=(ValueError,),
    retry_backoff=False,
    default_retry_delay=0,
)
def insist(self: Any, key: str) -> Any:
    """Pay, but fail after it in the first two attempts."""
    outcome = paid(key, self.request.retries)
    if self.request.retries < 2:
        raise ValueError("not yet")
    return outcome


@shared_task(name="shop.pay_unprotected", acks_late=True, reject_on_worker_lost=True)
def pay_unprotected(key: str) -> Any:
    """Pay without protection."""
    return paid(key, 5)
