from pathlib import Path

import httpx

from django_idempotency.gateways import Approved, Unknown
from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.gateways.fake import FakeGateway, Fault, Kind
from django_idempotency.testing.gateways import FindContract


class TestExampleGateway(FindContract):
    cases = Path(__file__).parent / "gateway_cases"
    status, amount, currency = "/status", "/amount", "/currency"

    def gateway(self, url, client):
        return ExampleGateway(url, timeout=0.5, client=client)


def test_a_lost_answer_is_looked_up():
    call = {"idempotency_key": "8e03978e-40d5-43e8-bc93-6894a57f9324", "amount": 1250, "currency": "EUR"}
    with FakeGateway([Fault(kind=Kind.LOST, times=1)]) as fake, httpx.Client() as client:
        gateway = ExampleGateway(fake.url, client=client)
        assert isinstance(gateway.charge(**call), Unknown)
        assert isinstance(gateway.find(**call), Approved)
        assert len(fake.charges) == 1
