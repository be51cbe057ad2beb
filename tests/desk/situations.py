"""Requests as a day of trouble leaves them, and as clients send them who mean no good."""

import itertools
import json
from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from django_idempotency.models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep
from tests.support.records import HOUR, stored

DAY = 24 * HOUR
Kind = IdempotencyIncident.Kind
JSON = '[["Content-Type", "application/json"]]'
CARD = {
    "amount": "12.00",
    "currency": "EUR",
    "card": {"number": "4111111111111111", "holder": "Ada"},
    "note": "Größe M",
}
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
OVERRIDE = "invoice\u202egpj.exe"
NUMBERS = itertools.count()


def answered(age, **columns):
    """A record that was claimed so long ago, answered at once, and is kept as the default profile says."""
    at = timezone.now() - age + timedelta(milliseconds=84)
    times = {"completed_at": at, "claimed_at": age, "expires_at": age - 72 * HOUR, "forget_at": age - 33 * DAY}
    answer = {"status": 201, "headers": JSON, "body": b'{"id": 7, "status": "paid"}', "token": 1}
    request = {"request_headers": JSON, "amount": Decimal("12.00"), "currency": "EUR", "path": "/api/payments/"}
    return stored("completed", **{**times, **answer, **request, **columns})


def incident(record: IdempotencyRecord, kind: str, **columns) -> IdempotencyIncident:
    """An incident of a record, seen an hour ago unless it is said otherwise."""
    names = ("namespace", "scope", "key", "method", "path", "amount", "currency")
    seen = timezone.now() - HOUR
    given = {name: getattr(record, name) for name in names}
    given |= {"fingerprint": f"{next(NUMBERS):x}", "first_seen": seen, "last_seen": seen}
    return IdempotencyIncident.objects.create(kind=kind, record_id=record.pk, **{**given, **columns})


def refused(**columns) -> IdempotencyRecord:
    """Answered, tried again with another amount, and failed twice before."""
    body = json.dumps(CARD, ensure_ascii=False).encode()
    record = answered(3 * HOUR, request_body=body, request_whole=False, key="7f3c0a52-order-1041", token=3, **columns)
    incident(record, Kind.MISMATCH, amount=Decimal("21.00"))
    incident(record, Kind.FAILED, counter=2, error="GatewayTimeout")
    return record


def operation() -> IdempotencyRecord:
    """A durable operation whose call nobody knows the outcome of."""
    record = stored(
        "unknown", operation="shop.create_payment", operation_input=json.dumps(CARD).encode(), token=2, resumes=1,
        claimed_at=5 * HOUR, amount=Decimal("480.00"), currency="EUR", path="/api/card-payments/", key="pay-88123",
    )  # fmt: skip
    of_step = {"record_id": record.pk, "requested_at": timezone.now() - 5 * HOUR}
    IdempotencyStep.objects.create(
        position=0, name="reserve", kind="phase", input=b'{"amount": "480.00"}', result=b'{"id": 3}',
        finished_at=timezone.now() - 5 * HOUR, **of_step,
    )  # fmt: skip
    IdempotencyStep.objects.create(
        position=1, name="charge_card", kind="remote", input=json.dumps(CARD).encode(), gateway_key="k-1", **of_step
    )
    incident(record, Kind.UNKNOWN)
    return record


def hostile() -> IdempotencyRecord:
    """Whatever a client can send that could do something to whoever looks at it."""
    body = json.dumps({"note": SCRIPT, "name": OVERRIDE, "formula": "=HYPERLINK(1)"}).encode()
    record = answered(
        2 * HOUR, scope=SCRIPT, path=f"/pay?x={SCRIPT}'; rm -rf ~ #\\", request_body=body, body=SCRIPT.encode(),
        headers='[["Content-Type", "text/html"], ["X-Note", "\\u202eabc"]]', key="=cmd|' /C calc'!A0", currency="@SUM(1)",
    )  # fmt: skip
    incident(record, Kind.FAILED, error=SCRIPT)
    return record


def trouble() -> dict[str, IdempotencyRecord]:
    """Some of everything."""
    for minutes in range(1, 40, 2):
        answered(
            timedelta(minutes=minutes),
            scope=f"user:{minutes}",
            amount=Decimal(minutes) * 7,
            status=402 if minutes == 9 else 201,
        )
    stored(
        "processing", claimed_at=timedelta(seconds=3), path="/api/payments/", amount=Decimal("99.90"), currency="EUR"
    )
    times = {"claimed_at": 20 * HOUR, "completed_at": timezone.now() - 20 * HOUR}
    stored("tombstone", expires_at=10 * HOUR, forget_at=10 * HOUR - 30 * DAY, path="/hooks/", **times)
    return {"refused": refused(), "operation": operation(), "hostile": hostile()}
