from shop import gateway
from shop.models import Payment

from django_idempotency.tasks import idempotent_task


@idempotent_task(key="{order}", name="shop.capture", autoretry_for=(ConnectionError,), retry_backoff=True)
def capture(order, amount):
    # The gateway is not undone with the database: it gets a key of its own, the same in every attempt.
    outcome = gateway.charge(amount, idempotency_key=f"capture-{order}")
    payment = Payment.objects.create(key=order, amount=amount)
    return {"payment": payment.pk, "outcome": outcome}


@idempotent_task(key=lambda event: event["id"], name="shop.book", max_retries=10)
def book(event):
    Payment.objects.create(key=event["id"], amount=event["amount"])
