import json

import pytest
from django.test import Client

from django_idempotency.models import IdempotencyIncident


@pytest.fixture
def send(key):
    """Send a script to a view of the tests' bank, under one key."""

    def post(path="/plain/pay", /, data=None, *, raw=None, content_type="application/json", headers=None, **script):
        body = json.dumps({"amount": 5, **script} if data is None else data) if raw is None else raw
        sent = {"Idempotency-Key": key, "Authorization": "Test 1", **(headers or {})}
        return Client(raise_request_exception=False).post(path, body, content_type=content_type, headers=sent)

    return post


@pytest.fixture
def inbox():
    """Return the incidents, as the named columns of each."""

    def read(*columns):
        return list(IdempotencyIncident.objects.order_by("pk").values_list(*(columns or ("kind", "error", "counter"))))

    return read
