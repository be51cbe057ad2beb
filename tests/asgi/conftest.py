"""Live uvicorn servers with coroutine views."""

import sys
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.support import services
from tests.support.live import Live, Servers

pytest.importorskip("uvicorn")

POINTS = "tests.asgi.points.points_middleware"
# A middleware that is no coroutine moves the whole request into a thread and back.
CHAINS = {"coroutines": [POINTS], "a synchronous middleware": ["tests.bank.auth.HeaderUserMiddleware", POINTS]}


def uvicorn(listener: int, workers: int, threads: int, healthcheck: int = 5) -> list[str]:
    """
    Return the command. uvicorn waits `healthcheck` seconds for each worker to say that it lives: also for one that is
    killed just after it was asked, and replaces none meanwhile.
    """
    options = ["--lifespan=off", "--log-level=warning", f"--timeout-worker-healthcheck={healthcheck}"]
    return [
        *(sys.executable, "-m", "uvicorn", "tests.asgi.application:application"),
        *(f"--fd={listener}", f"--workers={workers}", *options),
    ]


def start(servers: Servers, vendor: str, chain: str = "coroutines") -> Live:
    """Return the uvicorn on a database, started by the first test that asks for it."""
    return servers.get(vendor, command=uvicorn, **settings(vendor, chain))


def start_own(servers: Servers, vendor: str) -> Live:
    """Return a uvicorn for a test that stops workers, which replaces none before the test has seen what it does."""
    patient = partial(uvicorn, healthcheck=60)
    return servers.start(servers.databases.new(vendor), command=patient, **settings(vendor, "coroutines"))


def settings(vendor: str, chain: str) -> dict[str, Any]:
    profile = {"JOIN_TIMEOUT": timedelta(seconds=0.2)} if vendor == "sqlite" else {}
    return {"ROOT_URLCONF": "tests.asgi.urls", "MIDDLEWARE": CHAINS[chain], "IDEMPOTENCY": {"default": profile}}


@pytest.fixture(params=services.chosen_databases())
def vendor(request: pytest.FixtureRequest) -> str:
    """Each database."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def asgi(servers: Servers, vendor: str) -> Live:
    """A uvicorn on each database."""
    return start(servers, vendor)


@pytest.fixture(params=CHAINS)
def chained(request: pytest.FixtureRequest, servers: Servers, vendor: str) -> Live:
    """A uvicorn on each database, with and without a synchronous middleware."""
    return start(servers, vendor, request.param)
