"""Square: payments by the Payments API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from .amounts import ISO, Money
from .answers import Kinds, Told, judged, only
from .results import Approved, Cancelled, Declined, Failed, Pending, Result, Unknown
from .sending import Answer, Client, Wire, found, refused, told

PAYMENT: Kinds = {
    "APPROVED": Approved,
    "COMPLETED": Approved,
    "PENDING": Pending,
    "CANCELED": Cancelled,
    "FAILED": Declined,
}
LOOK_BACK = timedelta(days=2)
"""How old a payment is at most that a look-up comes to."""


class Square:
    """
    `details` are fields of Square's own: source_id, location_id, autocomplete, customer_id. `reference_id` is the key.

    How long Square honours a key is not published, so a charge is never sent twice: what was lost is looked up.
    """

    name = "square"
    key_ttl = None

    def __init__(
        self,
        *,
        access_token: str,
        base_url: str = "https://connect.squareup.com",
        timeout: float = 20,
        client: Client | None = None,
    ) -> None:
        self.timeout = timeout
        headers = {"Authorization": f"Bearer {access_token}", "Square-Version": "2025-01-23"}
        self._wire = Wire.to(base_url, headers=headers, timeout=timeout, client=client)

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result:
        asked = Money(amount=amount, currency=currency)
        money = {"amount": asked.amount, "currency": asked.currency}
        key = {"idempotency_key": idempotency_key, "reference_id": idempotency_key}
        send = partial(self._wire.send, "POST", "/v2/payments", json={**details, **key, "amount_money": money})
        return told(send, lambda answer: _answered(answer, asked))

    def find(
        self, *, idempotency_key: str, amount: int, currency: str, location_id: str | None = None, **_: Any
    ) -> Result | None:
        """
        The payment of the last two days whose `reference_id` is the key, among the newest of its location.

        Square's list comes some seconds late: None does not say that there is no payment.
        """
        asked = Money(amount=amount, currency=currency)
        since = (datetime.now(UTC) - LOOK_BACK).isoformat(timespec="seconds")
        params = {"begin_time": since, "sort_order": "DESC", "limit": 100}
        if location_id is not None:
            params["location_id"] = location_id
        return self._page(params, self._wire.deadline(), idempotency_key, asked)

    def _page(self, params: dict[str, Any], deadline: float, key: str, asked: Money) -> Result | None:
        def read(answer: Answer) -> Result | None:
            entry = only([entry for entry in answer.body["payments"] if entry.get("reference_id") == key])
            if entry is not None:
                return judged(_told(entry), asked, PAYMENT)
            cursor = answer.body.get("cursor")
            return self._page({**params, "cursor": cursor}, deadline, key, asked) if cursor else None

        return found(partial(self._wire.send, "GET", "/v2/payments", params=params, deadline=deadline), read)


def _answered(answer: Answer, asked: Money) -> Result:
    return judged(_told(answer.body["payment"]), asked, PAYMENT) if answer.ok else _error(answer)


def _told(payment: dict[str, Any]) -> Told:
    # An authorisation of a part of the amount is told here only.
    money = payment.get("approved_money") or payment["amount_money"]
    failed = payment.get("card_details", {}).get("errors") or [{}]
    return Told(
        status=payment["status"],
        reference=payment["id"],
        amount=ISO.read(money["amount"], money["currency"]),
        currency=money["currency"],
        reason=failed[0].get("code"),
    )


def _error(answer: Answer) -> Result:
    error = ((answer.body or {}).get("errors") or [{}])[0]
    category, code = error.get("category"), error.get("code")
    if code == "TEMPORARY_ERROR" or category == "RATE_LIMIT_ERROR":
        return Failed(reason=code, retryable=True)
    # A request of other contents had this key: what became of that one, this answer does not say.
    if code == "IDEMPOTENCY_KEY_REUSED" or category == "API_ERROR":
        return Unknown(reason=code)
    if category == "PAYMENT_METHOD_ERROR":
        return Declined(reference=((answer.body or {}).get("payment") or {}).get("id"), reason=code)
    return refused(answer, code)
