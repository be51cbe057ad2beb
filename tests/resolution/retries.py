"""Requests of a client that fail, and what staff makes of them."""

import json
from typing import Any

from django.test import Client

from django_idempotency import resolution
from django_idempotency.models import IdempotencyEvent, IdempotencyIncident
from tests.bank.models import Payment
from tests.resolution.people import ADA
from tests.resolution.shop import TILL

SAID = {"reason": "ticket 812", "actor": ADA}
FERNET = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def post(buyer: Client, path: str = "/pay", data: Any = None, **more: Any) -> Any:
    """Send a payment."""
    headers = {"Idempotency-Key": "k", **more.pop("headers", {})}
    return buyer.post(path, data or {"amount": 5}, headers=headers, **{"content_type": "application/json", **more})


def failed(buyer: Client, path: str = "/pay", data: Any = None, **more: Any) -> int:
    """Send one that fails, and return the number of its incident. The till works from now on."""
    TILL.breaks()
    assert post(buyer, path, data, **more).status_code == 500
    TILL.works()
    TILL.seen.clear()
    return incident().pk


def mismatched(buyer: Client, path: str = "/pay", **more: Any) -> int:
    """Send one of 5 and then one of 6 under the same key, and return the number of the incident."""
    assert post(buyer, path, **more).status_code == 201
    assert post(buyer, path, {"amount": 6}, **more).status_code == 422
    TILL.__init__()  # type: ignore[misc]
    return incident("mismatch").pk


def incident(kind: str = "failed") -> IdempotencyIncident:
    """Return the only one of its kind."""
    return IdempotencyIncident.objects.get(kind=kind)


def replay(found: Any, **said: Any) -> Any:
    """Run it again."""
    return resolution.replay(found, **{**SAID, **said})


def payments() -> list[tuple[str, int]]:
    """Return the keys and amounts of all payments."""
    return list(Payment.objects.order_by("pk").values_list("key", "amount"))


def last_event() -> dict[str, Any]:
    """Return what the last event says of the time after the act."""
    event = IdempotencyEvent.objects.order_by("sequence").last()
    assert event
    found: dict[str, Any] = json.loads(event.after)
    return found
