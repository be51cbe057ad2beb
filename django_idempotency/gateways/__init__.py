"""
Payment gateways behind one small protocol, with answers that never guess. It takes `httpx`: the extra `gateways`.

    from django_idempotency.gateways.stripe import Stripe
    result = Stripe(api_key=...).charge(idempotency_key=..., amount=1250, currency="EUR", payment_method="pm_...")

In a durable operation, `Journaled(Stripe(...))`.
"""

from .journal import Journaled
from .protocols import Captures, Finds, Gateway
from .results import (
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Failed,
    NoMoneyMoved,
    Pending,
    Result,
    Unknown,
)

__all__ = [
    "ActionRequired",
    "Approved",
    "Cancelled",
    "Captures",
    "Declined",
    "Failed",
    "Finds",
    "Gateway",
    "Journaled",
    "NoMoneyMoved",
    "Pending",
    "Result",
    "Unknown",
]
