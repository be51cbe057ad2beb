"""PayPal Orders v2: capturing an order that the payer has approved."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from .amounts import Money, Units
from .answers import Kinds, Told, judged, only
from .results import ActionRequired, Approved, Declined, Pending, Result, Unknown
from .sending import Answer, Client, Lost, NotSent, Wire, found, refused, told

# developer.paypal.com/api/rest/reference/currency-codes: two currencies that have decimals in ISO 4217, and not there.
UNITS = Units(decimals={"HUF": 0, "TWD": 0}, multiples={})

CAPTURE: Kinds = {"COMPLETED": Approved, "PENDING": Pending, "DECLINED": Declined, "FAILED": Declined}
ISSUES: Kinds = {
    "INSTRUMENT_DECLINED": Declined,
    "PAYER_ACTION_REQUIRED": ActionRequired,
    "ORDER_NOT_APPROVED": ActionRequired,
    "PREVIOUS_REQUEST_IN_PROGRESS": Unknown,
}
NOT_CAPTURED = {"CREATED", "SAVED", "APPROVED", "PAYER_ACTION_REQUIRED"}
"""An order's own states, in which no money has moved: "APPROVED" is the payer's consent."""
EARLY = 60
"""Seconds before its end from which an access token is not used any more."""


class PayPal:
    """
    A charge captures the order `order_id`, which the payer has approved; `details` go into the request's body.

    An order is captured once, so it belongs to one operation: the look-up goes by it. Orders with the intent AUTHORIZE,
    and orders of more than one purchase unit, are left out.
    """

    name = "paypal"
    key_ttl = timedelta(hours=6)

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        base_url: str = "https://api-m.paypal.com",
        timeout: float = 20,
        client: Client | None = None,
    ) -> None:
        self.timeout = timeout
        self._wire = Wire.to(base_url, headers={}, timeout=timeout, client=client)
        self._token = _Token(self._wire, f"{client_id}:{client_secret}")

    def charge(self, *, idempotency_key: str, amount: int, currency: str, order_id: str = "", **details: Any) -> Result:
        asked = Money(amount=amount, currency=currency)
        UNITS.write(asked)
        if not order_id:
            raise ValueError("PayPal charges an order that the payer has approved: give its order_id.")
        deadline = self._wire.deadline()
        headers = {"PayPal-Request-Id": idempotency_key, "Prefer": "return=representation"}
        send = partial(self._send, "POST", _path(order_id, "capture"), deadline, headers=headers, json=details)

        def read(answer: Answer) -> Result:
            if answer.ok:
                return _captured(answer.body, asked) or Unknown(reference=order_id, reason="no capture in the order")
            if _issue(answer) == "ORDER_ALREADY_CAPTURED":
                return self._find(order_id, asked, deadline) or Unknown(reference=order_id, reason=_issue(answer))
            return _error(answer)

        return told(send, read)

    def find(self, *, idempotency_key: str, amount: int, currency: str, order_id: str = "", **_: Any) -> Result | None:
        """The order's capture, whichever key it was made under: an order has one."""
        return self._find(order_id, Money(amount=amount, currency=currency), self._wire.deadline())

    def _find(self, order_id: str, asked: Money, deadline: float) -> Result | None:
        send = partial(self._send, "GET", _path(order_id), deadline)
        return found(send, lambda answer: _captured(answer.body, asked))

    def _send(self, method: str, path: str, deadline: float, **request: Any) -> Answer:
        headers = {**request.pop("headers", {}), "Authorization": f"Bearer {self._token.get(deadline)}"}
        answer = self._wire.send(method, path, deadline=deadline, headers=headers, **request)
        if answer.status == 401:
            self._token.forget()
        return answer


class _Token:
    """An access token, asked for when there is none. Threads share it."""

    def __init__(self, wire: Wire, credentials: str) -> None:
        self._wire = wire
        self._credentials = b64encode(credentials.encode()).decode()
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def get(self, deadline: float) -> str:
        """Raises NotSent: without a token, nothing that matters is sent."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._token, seconds = self._ask(deadline)
                self._until = time.monotonic() + seconds - EARLY
            return self._token

    def forget(self) -> None:
        with self._lock:
            self._until = 0.0

    def _ask(self, deadline: float) -> tuple[str, float]:
        headers = {"Authorization": f"Basic {self._credentials}"}
        data = {"grant_type": "client_credentials"}
        try:
            answer = self._wire.send("POST", "/v1/oauth2/token", deadline=deadline, headers=headers, data=data)
            return answer.body["access_token"], answer.body["expires_in"]
        except (Lost, LookupError, TypeError) as exc:
            raise NotSent("no access token") from exc


def _captured(order: dict[str, Any], asked: Money) -> Result | None:
    """What the order's capture says; None where the order has none and may still be captured."""
    unit = only(order["purchase_units"])
    capture = only((unit.get("payments") or {}).get("captures") or [])
    if capture is not None:
        return judged(_told(capture), asked, CAPTURE)
    if order["status"] in NOT_CAPTURED:
        return None
    return Unknown(reference=order["id"], reason=f"order {order['status']!r} without a capture")


def _told(capture: dict[str, Any]) -> Told:
    money = capture["amount"]
    return Told(
        status=capture["status"],
        reference=capture["id"],
        amount=UNITS.read_decimal(money["value"], money["currency_code"]),
        currency=money["currency_code"],
        reason=(capture.get("status_details") or {}).get("reason"),
    )


def _error(answer: Answer) -> Result:
    issue = _issue(answer)
    kind = ISSUES.get(issue or "")
    if kind is ActionRequired:
        return ActionRequired(reason=issue, action={"links": answer.body.get("links", [])})
    return kind(reason=issue) if kind else refused(answer, issue)


def _issue(answer: Answer) -> str | None:
    body = answer.body or {}
    details = body.get("details") or [{}]
    return details[0].get("issue") or body.get("name")


def _path(order_id: str, *more: str) -> str:
    return "/".join(("/v2/checkout/orders", quote(order_id, safe=""), *more))
