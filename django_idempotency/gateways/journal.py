"""A gateway as a durable operation calls it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..exceptions import OutcomeUnknown, RetryLater
from .protocols import Gateway
from .results import Failed, Result, Unknown

logger = logging.getLogger("django_idempotency")

PAUSE = 30
"""Seconds until an operation tries again what a gateway has not looked at."""


class Journaled:
    """
    A gateway whose calls return what an operation journals, and raise what has no place in a journal.

        stripe = Journaled(Stripe(api_key=...))
        charge = op.remote(stripe.charge, lookup=stripe.find, amount=1250, currency="EUR", payment_method="pm_...")
        if charge["status"] == "declined": ...

    Each call returns `Result.as_json()`. An Unknown raises OutcomeUnknown: the operation looks it up. A retryable Failed
    raises RetryLater: nothing was done, and the operation asks again under the same key. A look-up that finds no record
    returns None. A call that the gateway does not have is an AttributeError where it is named.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.name = gateway.name
        self.key_ttl = gateway.key_ttl
        self.timeout = gateway.timeout

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        call: Callable[..., Result | None] = getattr(self.gateway, name)

        @wraps(call)
        def journaled(**given: Any) -> dict[str, Any] | None:
            return _journal(call(**given))

        # What an operation asks of the object that a call belongs to.
        vars(journaled).update(key_ttl=self.key_ttl, timeout=self.timeout)
        return journaled


def _journal(result: Result | None) -> dict[str, Any] | None:
    match result:
        case None:
            return None
        case Unknown():
            raise OutcomeUnknown(_shown(result), key_forgotten=result.key_forgotten)
        case Failed(retryable=True):
            # Its reason is for logs and staff; the client is shown what a RetryLater says.
            logger.warning("A gateway did nothing about a call, which is tried again: %s", _shown(result))
            raise RetryLater(PAUSE)
    return result.as_json()


def _shown(result: Result) -> str:
    return " ".join(part for part in (result.reference, result.reason) if part)
