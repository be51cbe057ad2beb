"""Stands for a payment gateway's own library: it charges once for each key, as gateways do."""

CHARGES: dict[str, int] = {}


def charge(amount: int, idempotency_key: str) -> str:
    CHARGES.setdefault(idempotency_key, amount)
    return "declined" if amount == 402 else "paid"
