"""The gateway, the partners, tables for the examples, and a nursery of workers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_idempotency.gateways.fake import FakeGateway, Fault, Kind
from tests.flows.models import TABLES
from tests.flows.partners import Partners, serving

PATIENCE = 8.0
CHECKOUT = Path(__file__).resolve().parent.parent.parent


class Nursery:
    """Forks workers, hears what they tell, and kills them."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.workers"],
            cwd=CHECKOUT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        database = {name: connection.settings_dict[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")}
        self.order(database)
        assert self.hear()["event"] == "ready"

    def order(self, what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(what)}\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert event["event"] != "failed", event["error"]
        return event

    def run(self, path: str, given: dict[str, Any], *, key: str, stop: str | None = None) -> dict[str, Any]:
        """The last thing that a worker told: where it stopped, or its answer with the points that it passed."""
        self.order({"do": "run", "addresses": self.addresses, "path": path, "key": key, "given": given, "stop": stop})
        passed = []
        while (event := self.hear())["event"] == "passed":
            passed.append(event["point"])
        return {**event, "passed": passed}

    def let_go(self, worker: int) -> None:
        os.kill(worker, signal.SIGUSR1)

    def kill(self, worker: int) -> None:
        os.kill(worker, signal.SIGKILL)
        self.order({"do": "reap", "pid": worker})
        assert self.hear()["event"] == "dead"

    def recover(self) -> dict[str, Any]:
        self.order({"do": "recover", "addresses": self.addresses})
        return self.hear()

    def close(self) -> None:
        # Waits for it, and closes what is open between us.
        self.process.communicate(timeout=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """All that is not our database."""

    gateway: FakeGateway
    partners: Partners

    def hold(self) -> None:
        """What is sent next is done, and its answer held back."""
        self.gateway.faults.set([Fault(kind=Kind.HOLD_AFTER, times=1)])
        self.partners.holds = True

    def wait(self, *, card: bool) -> None:
        """Until it is held."""
        barriers = (self.gateway if card else self.partners).barriers
        assert barriers.held(PATIENCE)

    def release(self) -> None:
        self.gateway.faults.set([])
        self.partners.holds = False
        self.gateway.barriers.release()
        self.partners.barriers.release()


@pytest.fixture(scope="session")
def tables(django_db_setup: None, django_db_blocker: Any) -> None:
    """Those of the examples. The database is dropped with them."""
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            for model in TABLES:
                editor.create_model(model)
        connection.close()


@pytest.fixture(scope="module")
def forking(tables: None) -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    partners = Partners()
    with FakeGateway() as gateway, serving(partners):
        yield Outside(gateway=gateway, partners=partners)


@pytest.fixture
def nursery(forking: Nursery, outside: Outside, transactional_db: None) -> Nursery:
    for model in TABLES:
        model.objects.all().delete()
    forking.addresses = {"CARDS_URL": outside.gateway.url, "PARTNERS_URL": outside.partners.url}
    return forking
