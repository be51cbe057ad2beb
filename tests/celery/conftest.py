"""Brokers and workers. An environment without Celery has nothing to collect here."""

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support import services
from tests.support.live import Servers

if TYPE_CHECKING:
    from celery import Celery

    from tests.celery.workers import Worker, Workers

HAVE_CELERY = importlib.util.find_spec("celery") is not None

collect_ignore_glob = [] if HAVE_CELERY else ["*.py"]

BROKERS = {"rabbitmq": services.rabbitmq, "redis": services.redis}


@pytest.fixture(autouse=True)
def app() -> Iterator["Celery"]:
    """The app of this process, whose broker is its memory."""
    from celery import Celery, current_app

    before = current_app._get_current_object()
    app = Celery("tests", broker="memory://")
    yield app
    app.close()
    before.set_current()


@pytest.fixture(scope="session")
def workers(servers: Servers) -> Iterator["Workers"]:
    """Celery workers, started when asked for."""
    from tests.celery.workers import Workers

    workers = Workers(servers)
    yield workers
    workers.close()


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of each broker."""
    return BROKERS[request.param]()


@pytest.fixture
def worker(workers: "Workers", broker: str) -> "Worker":
    """A worker with two processes on PostgreSQL, behind each broker."""
    services.skip_unless_chosen("postgresql")
    return workers.get("postgresql", broker)


@pytest.fixture(params=services.chosen_databases())
def any_worker(workers: "Workers", request: pytest.FixtureRequest) -> "Worker":
    """A worker with two processes on each database, behind RabbitMQ."""
    return workers.get(request.param, services.rabbitmq())


@pytest.fixture
def broken_database() -> Iterator[str]:
    """The alias of a database that cannot be opened. The test has to be allowed to try."""
    from django.db import connections

    other = connections["other"]
    other.close()
    name, other.settings_dict["NAME"] = other.settings_dict["NAME"], "missing/database"
    yield "other"
    other.close()
    other.settings_dict["NAME"] = name
