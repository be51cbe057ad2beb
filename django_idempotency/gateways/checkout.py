"""Checkout.com: payments."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from .amounts import Money, Units
from .answers import Kinds, Told, judged, only
from .results import ActionRequired, Approved, Cancelled, Declined, NoMoneyMoved, Pending, Result, Unknown
from .sending import Answer, Client, Wire, found, refused, told

# checkout.com/docs/resources/calculating-the-amount: the Chilean peso has two decimals there, which have to be zeros.
UNITS = Units(decimals={"CLP": 2}, multiples=dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 10))

CONFLICT = 409

PAYMENT: Kinds = {
    "Authorized": Approved,
    "Captured": Approved,
    "Partially Captured": Approved,
    "Paid": Approved,
    "Card Verified": NoMoneyMoved,
    "redirect": ActionRequired,
    "Pending": Pending,
    "Requested": Pending,
    "Active": Pending,
    "Retry Scheduled": Pending,
    "Declined": Declined,
    "Voided": Cancelled,
    "Canceled": Cancelled,
    "Expired": Cancelled,
}


class Checkout:
    """`details` are fields of Checkout.com's own: source, customer, capture. `reference` is the key."""

    name = "checkout.com"
    key_ttl = timedelta(hours=24)

    def __init__(
        self,
        *,
        secret_key: str,
        base_url: str = "https://api.checkout.com",
        timeout: float = 20,
        client: Client | None = None,
    ) -> None:
        self.timeout = timeout
        headers = {"Authorization": f"Bearer {secret_key}"}
        self._wire = Wire.to(base_url, headers=headers, timeout=timeout, client=client)

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result:
        asked = Money(amount=amount, currency=currency)
        money = {"amount": UNITS.write(asked), "currency": asked.currency}
        headers = {"Cko-Idempotency-Key": idempotency_key}
        body = {**details, **money, "reference": idempotency_key}
        send = partial(self._wire.send, "POST", "/payments", headers=headers, json=body)
        return told(send, lambda answer: judged(_told(answer.body), asked, PAYMENT) if answer.ok else _error(answer))

    def find(self, *, idempotency_key: str, amount: int, currency: str, **_: Any) -> Result | None:
        """The payment whose `reference` is the key. How soon the list has it is not published."""
        asked = Money(amount=amount, currency=currency)
        deadline = self._wire.deadline()
        get = partial(self._wire.send, "GET", deadline=deadline)

        def read(answer: Answer) -> Result | None:
            entry = only(answer.body["data"])
            if entry is None:
                return None
            fetch = partial(get, f"/payments/{quote(entry['id'], safe='')}")
            return found(fetch, lambda details: judged(_told(details.body), asked, PAYMENT))

        return found(partial(get, "/payments", params={"reference": idempotency_key}), read)


def _told(payment: dict[str, Any]) -> Told:
    redirect = (payment.get("_links") or {}).get("redirect")
    currency = payment["currency"]
    return Told(
        status=_status(payment, redirect),
        reference=payment["id"],
        amount=UNITS.read(payment["amount"], currency) if "amount" in payment else None,
        currency=currency if "amount" in payment else None,
        reason=payment.get("response_code"),
        action={"redirect": redirect["href"]} if redirect else None,
    )


def _status(payment: dict[str, Any], redirect: object) -> str:
    """The status, where `approved` does not contradict it."""
    status: str = payment["status"]
    if status == "Pending" and redirect:
        return "redirect"
    if PAYMENT.get(status) is Approved and payment.get("approved") is not True:
        return f"{status}, not approved"
    return status


def _error(answer: Answer) -> Result:
    body = answer.body or {}
    if answer.status in range(400, 500) and body.get("response_code"):
        return Declined(reference=body.get("id"), reason=body["response_code"])
    result = refused(answer, ", ".join(body.get("error_codes") or []) or body.get("error_type"))
    # checkout.com/docs/payments/manage-payments/retry-a-payment: only a 2xx is kept under the key, all else is run anew.
    # A conflict is with a request under the same key, which may end with a 2xx.
    if isinstance(result, Unknown) and answer.status != CONFLICT:
        return replace(result, key_forgotten=True)
    return result
