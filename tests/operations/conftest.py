"""What every test of operations begins with."""

import threading
from collections.abc import Iterator

import pytest

from django_idempotency import heartbeats
from tests.operations import tills
from tests.support.threads import PATIENCE


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tills.restore()
    # The thread of signs of life ends, with its connection, before the next test.
    monkeypatch.setattr(heartbeats, "IDLE", 0.02)
    yield
    tills.restore()
    for thread in threading.enumerate():
        if thread.name == "idempotency-heartbeat":
            thread.join(PATIENCE)
