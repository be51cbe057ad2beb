"""Live uvicorn servers with coroutine views."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import services
from tests.support.live import Live, Servers, gunicorn

pytest.importorskip("uvicorn_worker")

POINTS = "tests.asgi.points.points_middleware"
# A middleware that is no coroutine moves the whole request into a thread and back.
CHAINS = {"coroutines": [POINTS], "a synchronous middleware": ["tests.bank.auth.HeaderUserMiddleware", POINTS]}


def uvicorn(listener: int, workers: int, threads: int) -> list[str]:
    """Return the command: uvicorn's workers under gunicorn, which replaces a killed one at once by a fork."""
    served = [
        part.replace("tests.support.wsgi:", "tests.asgi.application:") for part in gunicorn(listener, workers, threads)
    ]
    return [*served, "--worker-class=uvicorn_worker.UvicornWorker"]


def start(servers: Servers, vendor: str, chain: str = "coroutines") -> Live:
    """Return the uvicorn on a database, started by the first test that asks for it."""
    return servers.get(vendor, command=uvicorn, **settings(vendor, chain))


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
