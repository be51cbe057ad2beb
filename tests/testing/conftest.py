"""Requests to the views of this folder, and a count of what they have done."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client, override_settings

from tests.bank.models import Payment
from tests.testing import views

Send = Callable[[str], Any]


@pytest.fixture(autouse=True)
def urls() -> Iterator[None]:
    """The project consists of these views, and no gateway remembers anything."""
    views.CHARGES.clear()
    views.ANSWERS.clear()
    with override_settings(ROOT_URLCONF=views):
        yield


@pytest.fixture
def to() -> Callable[[str], Send]:
    """Gives what sends a request to a view, by the view's path."""

    def to(path: str) -> Send:
        def send(key: str) -> Any:
            client = Client(raise_request_exception=False)
            headers = {"Idempotency-Key": key}
            return client.post(path, json.dumps({"amount": 5}), content_type="application/json", headers=headers)

        return send

    return to


@pytest.fixture
def effects() -> Callable[[], int]:
    """Counts the payments."""
    return Payment.objects.count


@pytest.fixture
def elsewhere() -> Callable[[], int]:
    """Counts the payments in the other database."""
    return Payment.objects.using("other").count
