"""A shop whose orders are paid for by a task: what is ordered and the message to the task are one transaction."""

from typing import Any

from celery import current_task, shared_task
from django.db import transaction

from django_idempotency import enqueue_on_commit
from django_idempotency.tasks import idempotent_task, message_id
from tests.celery.shop import paid
from tests.support import points


@idempotent_task(key=message_id, name="outbox.receive")
def receive(key: str, at: str = "-") -> Any:
    """Pay; the first delivery is held where `at` says."""
    if not (current_task.request.delivery_info or {}).get("redelivered"):
        points.asked.ticket, *asked = at.split()
        points.asked.points = tuple(asked)
    return paid(key, 5)


@shared_task(name="outbox.order")
def order(keys: list[str], at: str = "-") -> list[str]:
    """Order, and return the ids of the messages."""
    with transaction.atomic():
        return [str(enqueue_on_commit(receive, key, at=at)) for key in keys]
