"""The payment in three steps as a durable operation: reserve it, charge it elsewhere, record the charge."""

from datetime import timedelta
from typing import Any

from django.db import connection

from django_idempotency import Respond, operation

INSERT = "INSERT INTO benchmarks_gatewaypayment (amount, reference) VALUES ({}, '') RETURNING id"
UPDATE = "UPDATE benchmarks_gatewaypayment SET reference = {} WHERE id = {}"


def reserve(amount: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(INSERT.format("%s"), [amount])
        return int(cursor.fetchone()[0])


def charge(idempotency_key: str, amount: int) -> dict[str, Any]:
    """Another system that answers at once: what is measured is the journal."""
    return {"status": "approved", "reference": f"ch-{idempotency_key}", "amount": amount}


def record(payment: int, reference: str) -> Respond:
    with connection.cursor() as cursor:
        cursor.execute(UPDATE.format("%s", "%s"), [reference, payment])
    return Respond(201, {"id": payment})


@operation
def pay(op: Any, *, amount: int) -> Respond:
    payment = op.phase(reserve, amount=amount)
    charged = op.remote(charge, key_ttl=timedelta(hours=24), amount=amount)
    answer: Respond = op.phase(record, payment=payment, reference=charged["reference"])
    return answer
