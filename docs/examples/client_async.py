import httpx

from django_idempotency.client import STRIPE, AsyncIdempotentTransport, DatabaseIntents, intent


def stripe(secret: str) -> httpx.AsyncClient:
    """A client for Stripe's API."""
    transport = AsyncIdempotentTransport(
        httpx.AsyncHTTPTransport(), namespace="shop", server=STRIPE, store=DatabaseIntents(), deadline=30
    )
    return httpx.AsyncClient(base_url=STRIPE.origin, transport=transport, auth=(secret, ""))


async def refund(client: httpx.AsyncClient, refund_id: int, payment_intent: str, amount: int) -> str:
    """The id of Stripe's refund for one of ours."""
    answer = await client.post(
        "/v1/refunds",
        data={"payment_intent": payment_intent, "amount": amount},
        extensions=intent("refund", refund_id),
    )
    answer.raise_for_status()
    return answer.json()["id"]
