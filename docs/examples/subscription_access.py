import httpx
from django.conf import settings

from django_idempotency import OutcomeUnknown


def grant(*, idempotency_key, subscription, until):
    """Ask another system of ours to let the subscriber in: granted or refused, never guessed."""
    try:
        answer = httpx.put(
            f"{settings.PARTNERS_URL}/access/{idempotency_key}",
            json={"subscription": subscription, "until": until},
            timeout=5,
        )
    except httpx.HTTPError as exc:
        raise OutcomeUnknown from exc
    if answer.status_code == 409:
        return {"status": "refused"}
    if answer.status_code in {200, 201}:
        return {"status": "granted"}
    raise OutcomeUnknown
