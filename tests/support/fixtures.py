"""Live servers, barriers and keys as fixtures; tests/conftest.py hands them to every test."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.support import services
from tests.support.barriers import Barriers
from tests.support.live import Live, Servers
from tests.support.proxies import Proxy


@pytest.fixture(scope="session")
def barriers() -> Iterator[Barriers]:
    """The place where requests to live servers can be held."""
    barriers = Barriers()
    yield barriers
    barriers.close()


@pytest.fixture(scope="session")
def servers(barriers: Barriers) -> Iterator[Servers]:
    """Live servers, started when asked for."""
    servers = Servers(barriers.port)
    yield servers
    servers.close()


# SQLite's second writer waits in line; the tests need not wait long with it to see that it is refused in the end.
BRIEF = {"default": {"JOIN_TIMEOUT": timedelta(seconds=0.2)}}
AT_ONCE = {"default": {"JOIN_TIMEOUT": timedelta(0)}}


@pytest.fixture(params=services.chosen_databases())
def live(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server on each database."""
    patience = {"sqlite": {"IDEMPOTENCY": BRIEF}, "mariadb": {"IDEMPOTENCY": AT_ONCE}}
    return servers.get(request.param, **patience.get(request.param, {}))


@pytest.fixture(params=services.chosen_databases())
def crowded(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server with room for a crowd, and with the default settings."""
    return servers.get(request.param, threads=12)


@pytest.fixture
def sqlite(servers: Servers) -> Live:
    """A server on SQLite."""
    services.skip_unless_chosen("sqlite")
    return servers.get("sqlite", IDEMPOTENCY=BRIEF)


@pytest.fixture(params=["postgresql", "mariadb"])
def served(request: pytest.FixtureRequest, servers: Servers) -> Live:
    """A server on each database that has a server of its own."""
    services.skip_unless_chosen(request.param)
    # MariaDB's second writer waits in line as well.
    return servers.get("mariadb", IDEMPOTENCY=AT_ONCE) if request.param == "mariadb" else servers.get(request.param)


@pytest.fixture
def postgres(servers: Servers) -> Live:
    """A server on PostgreSQL."""
    services.skip_unless_chosen("postgresql")
    return servers.get("postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindProxy:
    """A server that reaches its database through a proxy."""

    live: Live
    proxy: Proxy


# In clear, so that the proxy can tell a COMMIT.
IN_CLEAR = {"postgresql": {"sslmode": "disable", "gssencmode": "disable"}, "mariadb": {"ssl_mode": "DISABLED"}}


@pytest.fixture(scope="session", params=IN_CLEAR)
def proxied(request: pytest.FixtureRequest, servers: Servers) -> Iterator[BehindProxy]:
    """One server behind a proxy for the whole session."""
    services.skip_unless_chosen(request.param)
    database = servers.databases.new(request.param)
    proxy = Proxy(database.settings["HOST"], database.settings["PORT"])
    place = {"HOST": "127.0.0.1", "PORT": proxy.port, "OPTIONS": IN_CLEAR[request.param]}
    yield BehindProxy(live=servers.start(database, place=place), proxy=proxy)
    proxy.close()


@pytest.fixture
def behind_proxy(proxied: BehindProxy) -> Iterator[BehindProxy]:
    """The same, whole again after each test."""
    yield proxied
    proxied.proxy.recover()
    proxied.proxy.lose("")


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return str(uuid.uuid4())
