"""What is done for a payment after its answer."""

from django.db.models import F

from django_idempotency.tasks import idempotent_task

from .models import Payment


@idempotent_task(key="{payment}")
def send_receipt(payment: int) -> None:
    """Counts instead of sending one. A message may be delivered twice; its effect happens once."""
    Payment.objects.filter(pk=payment).update(receipts=F("receipts") + 1)
