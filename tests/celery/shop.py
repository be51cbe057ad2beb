"""The tasks of the tests: every run is noted, writes one effect, and then does what it was told."""

import uuid
from typing import Any

from celery import shared_task
from django.db import connection

from django_idempotency import bulk
from django_idempotency.core.acts import Act
from django_idempotency.models import (
    IdempotencyBulkRow,
    IdempotencyEvent,
    IdempotencyIncident,
    IdempotencyRecord,
)
from django_idempotency.tasks import idempotent_task
from django_idempotency.verification import verify
from tests.bank import runs
from tests.bank.models import Payment
from tests.resolution.people import ADA
from tests.support import points
from tests.support.records import stored


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


@shared_task(name="shop.begin_bulk")
def begin_bulk() -> int:
    """Choose four dead requests to be freed, of which the first is claimed again; the id of the bulk act."""
    records = [stored("processing") for _ in range(4)]
    seen = {record.pk: record.claim for record in records}
    run = bulk.begin(Act.RELEASE, records, seen, reason="deploy 7 has died", actor=ADA, using="default")
    IdempotencyRecord.objects.filter(pk=records[0].pk).update(claim=0)
    return int(run.pk)


@shared_task(name="shop.told_of_bulk")
def told_of_bulk(bulk_id: int) -> dict[str, Any]:
    """Tell what the rows of a bulk act say, what is left of the records, which were freed, and what is in the inbox."""
    rows = list(IdempotencyBulkRow.objects.filter(bulk_id=bulk_id).order_by("pk"))
    ids = [row.record_id for row in rows]
    released = IdempotencyEvent.objects.filter(record_id__in=ids, act="release").order_by("sequence")
    return {
        "states": [row.state for row in rows],
        "left": IdempotencyRecord.objects.filter(pk__in=ids).count(),
        "released": [ids.index(event.record_id) for event in released],
        "incidents": IdempotencyIncident.objects.filter(record_id__in=ids).count(),
        "faults": len(list(verify())),
    }
