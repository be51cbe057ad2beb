from datetime import timedelta

import httpx

from django_idempotency.client import DatabaseIntents, IdempotentTransport, Server, intent

BANK = Server(origin="https://api.bank.example", key_ttl=timedelta(hours=24))

bank = httpx.Client(
    base_url=BANK.origin,
    transport=IdempotentTransport(httpx.HTTPTransport(), namespace="shop", server=BANK, store=DatabaseIntents()),
)


def capture(order_id: int, amount: int, attempt: int = 1) -> bool:
    """Whether the bank has captured the amount, in cents; False: it has declined. Raises where nobody knows yet."""
    answer = bank.post(
        "/captures",
        json={"order": order_id, "amount": amount},
        extensions=intent("order", order_id, "capture", attempt),
    )
    if answer.status_code == 402:
        return False
    answer.raise_for_status()
    return True
