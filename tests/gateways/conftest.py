"""The fake gateway, and its adapter."""

import pytest

from django_idempotency.gateways.example import ExampleGateway
from django_idempotency.gateways.fake import FakeGateway
from django_idempotency.gateways.sending import new_client


@pytest.fixture
def client():
    with new_client() as client:
        yield client


@pytest.fixture
def fake():
    with FakeGateway() as fake:
        yield fake


@pytest.fixture
def gateway(fake, client):
    return ExampleGateway(fake.url, timeout=0.5, client=client)
