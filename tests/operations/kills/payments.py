"""A payment through a gateway, as a durable operation: reserve, charge, record."""

import functools
import json
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.gateways.journal import Journaled
from django_idempotency.operations import Respond, operation
from django_idempotency.operations.recovery import resume
from tests.bank import runs
from tests.bank.models import Payment
from tests.operations.kills.points import passing

TIMEOUT = 0.6
DAY = timedelta(hours=24)


@functools.cache
def gateway() -> Journaled:
    return Journaled(ExampleGateway(settings.GATEWAY, timeout=TIMEOUT))


def reserve(order: str) -> str:
    """Stands for what is written before the money is asked for."""
    return _write(f"reserved {order}", 0)


def charge(idempotency_key: str, order: str, amount: int) -> Any:
    with passing("call"):
        runs.note(f"sent {order}")
        assert not connection.in_atomic_block
        return gateway().charge(idempotency_key=idempotency_key, amount=amount, currency="EUR")


def find(idempotency_key: str, order: str, amount: int) -> Any:
    with passing("lookup"):
        runs.note(f"looked up {order}")
        return gateway().find(idempotency_key=idempotency_key, amount=amount, currency="EUR")


def record(order: str, charge: dict[str, Any]) -> Respond:
    """The ledger's own row."""
    return Respond(201, {"nonce": _write(order, charge["amount"]), "reference": charge["reference"]})


def _write(order: str, amount: int) -> str:
    return Payment.objects.create(key=order, amount=amount, nonce=str(uuid.uuid4())).nonce


@operation
def pay(op: Any, *, order: str, amount: int) -> Any:
    op.phase(reserve, order=order)
    charged = op.remote(charge, lookup=find, timeout=TIMEOUT, key_ttl=DAY, order=order, amount=amount)
    return op.phase(record, order=order, charge=charged)


@operation
def pay_blind(op: Any, *, order: str, amount: int) -> Any:
    """Its gateway honours keys, and cannot be asked."""
    op.phase(reserve, order=order)
    charged = op.remote(charge, timeout=TIMEOUT, key_ttl=DAY, order=order, amount=amount)
    return op.phase(record, order=order, charge=charged)


@operation
def pay_keyless(op: Any, *, order: str, amount: int) -> Any:
    """Its gateway can be asked, and knows nothing of keys."""
    op.phase(reserve, order=order)
    charged = op.remote(charge, lookup=find, timeout=TIMEOUT, order=order, amount=amount)
    return op.phase(record, order=order, charge=charged)


OPERATIONS = {"pay": pay, "blind": pay_blind, "keyless": pay_keyless}


def plain(request: HttpRequest, name: str) -> HttpResponse:
    return OPERATIONS[name].respond(request, **json.loads(request.body))


def upkeep(request: HttpRequest) -> HttpResponse:
    """What a worker of upkeep does."""
    resumed = resume()
    return JsonResponse({"completed": resumed.completed, "postponed": resumed.postponed, "parked": resumed.parked})
