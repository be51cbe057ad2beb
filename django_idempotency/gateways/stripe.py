"""Stripe: PaymentIntents that are created and confirmed in one request, their captures and refunds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from .amounts import Money, Units
from .answers import Kinds, Told, judged, only
from .results import ActionRequired, Approved, Cancelled, Declined, Pending, Result, Unknown
from .sending import Answer, Client, Wire, found, refused, told

# docs.stripe.com/currencies, read in November 2026. It has the Ugandan shilling both with and without decimals, and does
# not say how it counts the dinars of Iraq and Libya.
UNITS = Units(
    decimals={"ISK": 2, "MGA": 0},
    multiples=dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 10),
    refused=frozenset({"UGX", "IQD", "LYD"}),
)
KEY = "idempotency_key"
CAPTURE_KEY = "capture_idempotency_key"

CHARGE: Kinds = {
    "succeeded": Approved,
    "requires_capture": Approved,
    "processing": Pending,
    "requires_action": ActionRequired,
    "requires_confirmation": ActionRequired,
    "declined": Declined,
    "canceled": Cancelled,
}
CAPTURE: Kinds = {"succeeded": Approved, "processing": Pending, "canceled": Cancelled}
REFUND: Kinds = {
    "succeeded": Approved,
    "pending": Pending,
    "requires_action": ActionRequired,
    "failed": Declined,
    "canceled": Cancelled,
}


class Stripe:
    """`details` are parameters of Stripe's own: payment_method, customer, capture_method, return_url, metadata."""

    name = "stripe"
    key_ttl = timedelta(hours=24)

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = "https://api.stripe.com",
        timeout: float = 20,
        client: Client | None = None,
    ) -> None:
        self.timeout = timeout
        headers = {"Authorization": f"Bearer {api_key}", "Stripe-Version": "2025-03-31.basil"}
        self._wire = Wire.to(base_url, headers=headers, timeout=timeout, client=client)

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result:
        asked = Money(amount=amount, currency=currency)
        metadata = {**details.pop("metadata", {}), KEY: idempotency_key}
        data = {**details, "confirm": True, "metadata": metadata, **_money(asked)}
        send = partial(self._post, "/v1/payment_intents", idempotency_key, data)
        return told(send, lambda answer: _answered(answer, asked, CHARGE))

    def find(self, *, idempotency_key: str, amount: int, currency: str, **_: Any) -> Result | None:
        """
        The charge by the key in its metadata.

        Stripe's search comes late, by a minute as a rule and by an hour at worst: None does not say that there is no
        charge. What it finds is read afresh.
        """
        asked = Money(amount=amount, currency=currency)
        deadline = self._wire.deadline()
        query = f"metadata['{KEY}']:'{_quoted(idempotency_key)}'"
        search = partial(self._get, "/v1/payment_intents/search", {"query": query}, deadline)

        def read(answer: Answer) -> Result | None:
            entry = only(answer.body["data"])
            if entry is None:
                return None
            fetch = partial(self._get, _path("payment_intents", entry["id"]), {}, deadline)
            return found(fetch, lambda fresh: judged(_intent(fresh.body), asked, CHARGE))

        return found(search, read)

    def capture(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result:
        """Take money that a charge with `capture_method="manual"` holds; `reference` is the charge's."""
        asked = Money(amount=amount, currency=currency)
        metadata = {**details.pop("metadata", {}), CAPTURE_KEY: idempotency_key}
        data = {**details, "amount_to_capture": UNITS.write(asked), "metadata": metadata}
        send = partial(self._post, _path("payment_intents", reference, "capture"), idempotency_key, data)
        return told(send, lambda answer: _answered(answer, asked, CAPTURE))

    def find_capture(
        self, *, idempotency_key: str, reference: str, amount: int, currency: str, **_: Any
    ) -> Result | None:
        """What became of a capture."""
        asked = Money(amount=amount, currency=currency)

        def read(answer: Answer) -> Result | None:
            intent = answer.body
            if intent["status"] == "requires_capture":
                return None
            if intent["metadata"].get(CAPTURE_KEY) != idempotency_key:
                return Unknown(reference=intent["id"], reason="not captured under this key")
            return judged(_intent(intent), asked, CAPTURE)

        return found(partial(self._get, _path("payment_intents", reference), {}), read)

    def refund(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result:
        """Give back what a charge has taken, or a part of it; `reference` is the charge's."""
        asked = Money(amount=amount, currency=currency)
        metadata = {**details.pop("metadata", {}), KEY: idempotency_key}
        data = {**details, "payment_intent": reference, "amount": UNITS.write(asked), "metadata": metadata}
        send = partial(self._post, "/v1/refunds", idempotency_key, data)
        return told(send, lambda answer: judged(_refund(answer.body), asked, REFUND) if answer.ok else _error(answer))

    def find_refund(
        self, *, idempotency_key: str, reference: str, amount: int, currency: str, **_: Any
    ) -> Result | None:
        """What became of a refund. Lists come at once, unlike the search."""
        asked = Money(amount=amount, currency=currency)

        def read(answer: Answer) -> Result | None:
            entry = only([entry for entry in answer.body["data"] if entry["metadata"].get(KEY) == idempotency_key])
            if entry is not None:
                return judged(_refund(entry), asked, REFUND)
            return Unknown(reason="more refunds than one page") if answer.body["has_more"] else None

        return found(partial(self._get, "/v1/refunds", {"payment_intent": reference, "limit": 100}), read)

    def _post(self, path: str, key: str, data: dict[str, Any]) -> Answer:
        return self._wire.send("POST", path, headers={"Idempotency-Key": key}, data=dict(_form(data)))

    def _get(self, path: str, params: dict[str, Any], deadline: float | None = None) -> Answer:
        return self._wire.send("GET", path, params=params, deadline=deadline)


def _answered(answer: Answer, asked: Money, kinds: Kinds) -> Result:
    return judged(_intent(answer.body), asked, kinds) if answer.ok else _error(answer)


def _intent(intent: dict[str, Any]) -> Told:
    error = intent.get("last_payment_error") or {}
    status = intent["status"]
    if status == "requires_payment_method" and error:
        status = "declined"
    currency = intent["currency"].upper()
    moved = intent["amount_received"] if status == "succeeded" else intent["amount"]
    return Told(
        status=status,
        reference=intent["id"],
        amount=UNITS.read(moved, currency),
        currency=currency,
        reason=_reason(error),
        action=intent.get("next_action"),
    )


def _refund(refund: dict[str, Any]) -> Told:
    currency = refund["currency"].upper()
    return Told(
        status=refund["status"],
        reference=refund["id"],
        amount=UNITS.read(refund["amount"], currency),
        currency=currency,
        reason=refund.get("failure_reason") or refund.get("pending_reason"),
        action=refund.get("next_action"),
    )


def _error(answer: Answer) -> Result:
    error = (answer.body or {}).get("error") or {}
    if answer.status == 402 and error.get("type") == "card_error":
        reference = (error.get("payment_intent") or {}).get("id")
        return Declined(reference=reference, reason=_reason(error))
    # Another request has, or had, this key: what became of it, this answer does not say.
    if error.get("type") == "idempotency_error" or error.get("code") == "payment_intent_unexpected_state":
        return Unknown(reason=_reason(error) or "idempotency_error")
    return refused(answer, _reason(error))


def _reason(error: dict[str, Any]) -> str | None:
    return error.get("decline_code") or error.get("code") or error.get("type")


def _money(asked: Money) -> dict[str, Any]:
    return {"amount": UNITS.write(asked), "currency": asked.currency.lower()}


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _quoted(key: str) -> str:
    return key.replace("\\", "\\\\").replace("'", "\\'")


def _form(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested data in the brackets that Stripe takes: metadata[order]=1."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _form(inner, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _form(inner, f"{name}[{number}]")
    elif value is not None:
        # None is what the call leaves out: a form has no null, and Stripe takes the text "None" for a description.
        yield name, str(value).lower() if isinstance(value, bool) else str(value)
