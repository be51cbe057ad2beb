"""The adapter of the fake gateway: an example of how one is written."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from .amounts import ISO, Money
from .answers import Kinds, Told, judged, only
from .results import Approved, Declined, Pending, Result
from .sending import Answer, Client, Wire, found, refused, told

STATUSES: Kinds = {"approved": Approved, "declined": Declined, "pending": Pending}


class ExampleGateway:
    """`details` of a charge: card, and capture=False to hold the money only."""

    name = "example"

    def __init__(
        self,
        url: str,
        *,
        key_ttl: timedelta | None = timedelta(hours=24),
        timeout: float = 20,
        client: Client | None = None,
    ) -> None:
        self.key_ttl = key_ttl
        self.timeout = timeout
        self._wire = Wire.to(url, headers={}, timeout=timeout, client=client)

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result:
        return self._send("charges", idempotency_key, Money(amount=amount, currency=currency), details)

    def find(self, *, idempotency_key: str, amount: int, currency: str, **_: Any) -> Result | None:
        return self._find("charges", idempotency_key, Money(amount=amount, currency=currency))

    def capture(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result:
        asked = Money(amount=amount, currency=currency)
        return self._send("captures", idempotency_key, asked, {**details, "charge": reference})

    def find_capture(self, *, idempotency_key: str, amount: int, currency: str, **_: Any) -> Result | None:
        return self._find("captures", idempotency_key, Money(amount=amount, currency=currency))

    def refund(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result:
        asked = Money(amount=amount, currency=currency)
        return self._send("refunds", idempotency_key, asked, {**details, "charge": reference})

    def find_refund(self, *, idempotency_key: str, amount: int, currency: str, **_: Any) -> Result | None:
        return self._find("refunds", idempotency_key, Money(amount=amount, currency=currency))

    def _send(self, kind: str, key: str, asked: Money, details: dict[str, Any]) -> Result:
        body = {**details, "amount": asked.amount, "currency": asked.currency}
        send = partial(self._wire.send, "POST", f"/{kind}", headers={"Idempotency-Key": key}, json=body)
        return told(send, lambda answer: _answered(answer, asked))

    def _find(self, kind: str, key: str, asked: Money) -> Result | None:
        def read(answer: Answer) -> Result | None:
            entry = only(answer.body[kind])
            return None if entry is None else judged(_told(entry), asked, STATUSES)

        return found(partial(self._wire.send, "GET", f"/{kind}", params={"key": key}), read)


def _answered(answer: Answer, asked: Money) -> Result:
    # This gateway says 402 where a card is declined, with the charge in the body.
    if answer.ok or answer.status == 402:
        return judged(_told(answer.body), asked, STATUSES)
    return refused(answer, (answer.body or {}).get("error"))


def _told(entry: dict[str, Any]) -> Told:
    return Told(
        status=entry["status"],
        reference=entry["id"],
        amount=ISO.read(entry["amount"], entry["currency"]),
        currency=entry["currency"],
        reason=entry.get("reason"),
    )
