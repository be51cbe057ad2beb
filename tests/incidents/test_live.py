"""Incidents of real servers: under ATOMIC_REQUESTS, and when the process dies."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.crashes.expectations import answer_lost
from tests.support import services
from tests.support.barriers import Barriers
from tests.support.databases import Database, environment
from tests.support.kinds import BOTH
from tests.support.live import Live, Servers

TABLE = "django_idempotency_idempotencyincident"
PATIENCE = 8.0


def told(database: Database, key: str) -> list[tuple[str, ...]]:
    return database.query(f"SELECT kind, error FROM {TABLE} WHERE key = ? ORDER BY id", key)


def eventually(read: Callable[[], list[tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Return what is there in the end: a server may write after its answer."""
    deadline = time.monotonic() + PATIENCE
    while not (found := read()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@pytest.fixture(params=services.chosen_databases())
def atomic(request: pytest.FixtureRequest, servers: Servers) -> Live:
    return servers.get(request.param, place={"ATOMIC_REQUESTS": True})


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(("then", "error"), [("raise", "RuntimeError"), ("503", "503")])
def test_a_failure_under_atomic_requests_is_told(atomic: Live, path: str, key: str, then: str, error: str) -> None:
    assert atomic.client.post(path, {"amount": 5, "then": then}, key=key).status_code >= 500
    assert eventually(lambda: told(atomic.database, key)) == [("failed", error)]
    assert (atomic.database.effects(key), atomic.database.state(key)) == (0, None)


@pytest.mark.parametrize("path", BOTH)
def test_a_mismatch_under_atomic_requests_is_told(atomic: Live, path: str, key: str) -> None:
    assert [atomic.client.post(path, {"amount": amount}, key=key).status_code for amount in (5, 6)] == [201, 422]
    assert eventually(lambda: told(atomic.database, key)) == [("mismatch", "")]


@pytest.mark.parametrize("path", BOTH)
def test_a_kill_after_the_release_undoes_release_and_incident(
    served: Live, barriers: Barriers, key: str, path: str
) -> None:
    gate = barriers.gate("after-release")
    dying = served.client.start(path, {"amount": 5, "then": "raise"}, key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    assert (served.database.state(key), told(served.database, key)) == ("processing", [])
    assert served.client.insist(path, {"amount": 5, "then": "raise"}, key=key).status_code == 500
    assert eventually(lambda: told(served.database, key)) == [("failed", "RuntimeError")]
    assert served.database.state(key) is None


def test_a_killed_request_that_nobody_retries_is_abandoned(served: Live, barriers: Barriers, key: str) -> None:
    gate = barriers.gate("view")
    dying = served.client.start("/plain/pay", key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    served.database.age(key, timedelta(hours=1))
    command = [sys.executable, "-m", "django", "idempotency_recover"]
    settings = {"DATABASES": {"default": served.database.settings}}
    subprocess.run(command, check=True, env=environment(settings), capture_output=True, timeout=60)
    assert told(served.database, key) == [("abandoned", "")]
    assert served.database.state(key) is None
