"""A broker that is a list, and tasks that need no Celery."""

import pytest

from django_idempotency.outbox import targets
from tests.outbox.senders import Broker


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """What stands where Celery's broker would, and keeps what it was sent."""
    broker = Broker()
    monkeypatch.setitem(targets.SENDERS, targets.CELERY, broker)
    return broker
