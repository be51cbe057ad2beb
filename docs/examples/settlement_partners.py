from decimal import ROUND_HALF_EVEN, Decimal

import httpx
from django.conf import settings

from django_idempotency import OutcomeUnknown

# How many digits the minor unit of a currency has: ISO 4217, for those that are settled.
DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}


def quote(*, idempotency_key, amount, currency, into):
    """What an amount is in another currency, both in minor units. Asking moves nothing."""
    answer = asked("GET", "/quotes", params={"from": currency, "into": into})
    rate = Decimal(answer.json()["rate"])
    exact = Decimal(amount).scaleb(-DIGITS[currency]) * rate
    whole = exact.scaleb(DIGITS[into]).quantize(Decimal(1), ROUND_HALF_EVEN)
    return {"rate": str(rate), "amount": int(whole), "currency": into}


def pay_out(*, idempotency_key, payee, amount, currency):
    """Credit the payee at the bank, which keeps what was put under a key."""
    return told(
        asked("PUT", f"/payouts/{idempotency_key}", json={"payee": payee, "amount": amount, "currency": currency})
    )


def find_payout(*, idempotency_key, payee, amount, currency):
    answer = asked("GET", f"/payouts/{idempotency_key}")
    return None if answer.status_code == 404 else told(answer)


def asked(method, path, **options):
    try:
        answer = httpx.request(method, f"{settings.PARTNERS_URL}{path}", timeout=5, **options)
    except httpx.HTTPError as exc:
        raise OutcomeUnknown from exc
    if answer.status_code >= 500:
        raise OutcomeUnknown
    return answer


def told(answer):
    if answer.status_code == 409:
        return {"status": "refused"}
    if answer.status_code in {200, 201}:
        return {"status": "paid", "reference": answer.json()["id"]}
    raise OutcomeUnknown
