"""The examples of the how-to run, against a bank on loopback."""

import asyncio
import importlib.util
from pathlib import Path

import httpx
import pytest

from django_idempotency.client import AsyncIdempotentTransport, IdempotentTransport, MemoryIntents, Server, Unanswered
from tests.client.loopback import Given, Stripe
from tests.client.shops import DAY, StillClock

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

if not EXAMPLES.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(server):
    rules = Server(origin=server.origin, key_ttl=DAY)
    return {"namespace": "shop", "server": rules, "store": MemoryIntents(), "clock": StillClock()}


class TestCaptures:
    @pytest.fixture
    def bank(self, serve):
        return serve(Stripe())

    @pytest.fixture
    def example(self, bank):
        found = load("client_captures")
        found.bank.close()
        found.bank = httpx.Client(
            base_url=bank.origin, transport=IdempotentTransport(httpx.HTTPTransport(), **options(bank))
        )
        yield found
        found.bank.close()

    def test_an_order_is_captured_once(self, bank, example):
        bank.faults.append("cut after")
        assert [example.capture(42, 500) for _ in range(2)] == [True, True]
        assert len(bank.service.effects) == 1

    def test_a_decline_can_be_followed_by_another_attempt_of_the_customer(self, bank, example):
        bank.service.first = Given(402, {"error": "declined"})
        assert [example.capture(42, 500) for _ in range(2)] == [False, False]
        bank.service.first = None
        assert example.capture(42, 500, attempt=2)
        assert len(bank.service.effects) == 2

    def test_unknown_is_neither(self, bank, example):
        bank.faults.extend(["cut after"] * 50)
        with pytest.raises(Unanswered):
            example.capture(42, 500)


def test_a_refund_is_made_once(serve):
    example, server = load("client_async"), serve(Stripe(first=Given(200, {"id": "re_1"})))
    server.faults.append("cut after")

    async def refund():
        transport = AsyncIdempotentTransport(httpx.AsyncHTTPTransport(), **options(server))
        async with httpx.AsyncClient(base_url=server.origin, transport=transport) as client:
            return await example.refund(client, 7, "pi_1", 500)

    assert asyncio.run(refund()) == "re_1"
    assert len(server.service.effects) == 1


def test_the_client_for_stripe_is_made_for_stripe():
    client = load("client_async").stripe("sk_test")
    assert client.base_url == "https://api.stripe.com"
    asyncio.run(client.aclose())
