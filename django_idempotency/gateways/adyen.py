"""Adyen Checkout: payments, and the captures and refunds that are answered by a webhook."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from .amounts import Money, Units
from .answers import Kinds, Told, judged
from .results import ActionRequired, Approved, Cancelled, Declined, Failed, NoMoneyMoved, Pending, Result, Unknown
from .sending import Answer, Client, Wire, refused, told

# docs.adyen.com/development-resources/currency-codes: where it differs from ISO 4217.
UNITS = Units(decimals={"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2}, multiples={})

PAYMENT: Kinds = {
    "Authorised": Approved,
    "PartiallyAuthorised": Approved,
    "Pending": Pending,
    "Received": Pending,
    "PresentToShopper": Pending,
    "RedirectShopper": ActionRequired,
    "IdentifyShopper": ActionRequired,
    "ChallengeShopper": ActionRequired,
    "Refused": Declined,
    "Cancelled": Cancelled,
    "Error": Failed,
    "AuthenticationFinished": NoMoneyMoved,
    "AuthenticationNotRequired": NoMoneyMoved,
}
MODIFICATION: Kinds = {"received": Pending}
IN_PROGRESS = "704"


class Adyen:
    """
    `details` are fields of Adyen's own: paymentMethod, returnUrl, shopperReference.

    There is no `find`: Checkout has no look-up by a reference. For seven days the same call under the same key returns the
    first answer, which is why a durable operation may send it again. After that, the webhook's `merchantReference` tells.
    """

    name = "adyen"
    key_ttl = timedelta(days=7)

    def __init__(
        self,
        *,
        api_key: str,
        merchant_account: str,
        base_url: str,
        timeout: float = 20,
        client: Client | None = None,
    ) -> None:
        """`base_url` ends with the version, as in "https://checkout-test.adyen.com/v72"."""
        self.timeout = timeout
        self._account = merchant_account
        self._wire = Wire.to(base_url, headers={"X-API-Key": api_key}, timeout=timeout, client=client)

    def charge(self, *, idempotency_key: str, amount: int, currency: str, **details: Any) -> Result:
        """`reference` in the details is Adyen's merchant reference; the key where it is left out."""
        asked = Money(amount=amount, currency=currency)
        send = partial(self._post, "/payments", idempotency_key, asked, details)
        return told(send, lambda answer: _answered(answer, asked))

    def capture(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result:
        """Ask for money that a charge holds. Pending: Adyen's CAPTURE webhook tells the outcome."""
        asked = Money(amount=amount, currency=currency)
        send = partial(self._post, _path(reference, "captures"), idempotency_key, asked, details)
        return told(send, lambda answer: _modified(answer, asked))

    def refund(self, *, idempotency_key: str, reference: str, amount: int, currency: str, **details: Any) -> Result:
        """Ask to give money back. Pending: Adyen's REFUND webhook tells the outcome."""
        asked = Money(amount=amount, currency=currency)
        send = partial(self._post, _path(reference, "refunds"), idempotency_key, asked, details)
        return told(send, lambda answer: _modified(answer, asked))

    def _post(self, path: str, key: str, asked: Money, details: dict[str, Any]) -> Answer:
        amount = {"value": UNITS.write(asked), "currency": asked.currency}
        body = {"reference": key, **details, "merchantAccount": self._account, "amount": amount}
        return self._wire.send("POST", path, headers={"Idempotency-Key": key}, json=body)


def _answered(answer: Answer, asked: Money) -> Result:
    if not answer.ok:
        return _error(answer)
    body = answer.body
    reason = body.get("refusalReason")
    return judged(_told(body, body["resultCode"], reason=reason, action=body.get("action")), asked, PAYMENT)


def _modified(answer: Answer, asked: Money) -> Result:
    return judged(_told(answer.body, answer.body["status"]), asked, MODIFICATION) if answer.ok else _error(answer)


def _told(body: dict[str, Any], status: str, **more: Any) -> Told:
    reference, money = body.get("pspReference"), body.get("amount")
    if not money:
        return Told(status=status, reference=reference, **more)
    currency = money["currency"]
    return Told(
        status=status, reference=reference, amount=UNITS.read(money["value"], currency), currency=currency, **more
    )


def _error(answer: Answer) -> Result:
    body = answer.body or {}
    code = body.get("errorCode")
    reason = f"{body.get('errorType')} {code}" if code else None
    # Marked as transient, too: what becomes of the other request, this answer does not say.
    if str(code) == IN_PROGRESS:
        return Unknown(reference=body.get("pspReference"), reason=reason)
    if answer.headers.get("transient-error", "").lower() == "true":
        return Failed(reason=reason or f"HTTP {answer.status}, transient", retryable=True)
    return refused(answer, reason)


def _path(reference: str, what: str) -> str:
    return f"/payments/{quote(reference, safe='')}/{what}"
