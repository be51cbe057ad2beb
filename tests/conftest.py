"""What every test may need: the in-process database, and live servers for those that ask."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.suites import ONCE
from tests.support import emptying, services
from tests.support.fixtures import (
    barriers,
    behind_proxy,
    crowded,
    key,
    live,
    postgres,
    proxied,
    served,
    servers,
    sqlite,
)

__all__ = ["barriers", "behind_proxy", "crowded", "key", "live", "postgres", "proxied", "served", "servers", "sqlite"]

# What a browser shows is the same on all databases, and its tests are dear: PostgreSQL and SQLite have them.
IN_A_BROWSER = "desk/*_browser.py"
collect_ignore_glob = [IN_A_BROWSER] if os.environ.get("IDEMPOTENCY_TEST_DB") == "mariadb" else []
collect_ignore = ONCE if os.environ.get("IDEMPOTENCY_TEST_ONCE") == "elsewhere" else []


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Point the settings at the PostgreSQL that was started because none answered."""
    from django.conf import settings
    from django.db import connections

    if settings.TEST_DATABASE == "mariadb":
        services.mariadb()
    if settings.TEST_DATABASE != "postgresql":
        return
    server = services.postgresql()
    for alias, database in settings.DATABASES.items():
        place = server.database(database["NAME"])
        database.update(place)
        connections[alias].settings_dict.update(place)


@pytest.fixture(autouse=True, scope="session")
def postgresql_is_emptied_quickly() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        emptying.delete_instead_of_truncate(patch)
        emptying.drop_by_force(patch)
        yield


@pytest.fixture(autouse=True)
def incidents_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test count against another's flood, nor write what another's rolled back transaction has left waiting."""
    from django_idempotency import incidents

    monkeypatch.setattr(incidents, "_flood", type(incidents._flood)())
    incidents._waiting.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Open again what Django closes to a test and, where its set-up or its end has failed, leaves closed to all others."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        for name in ("connect", "temporary_connection", "cursor", "chunked_cursor"):
            while wrapped := getattr(getattr(connection, name), "wrapped", None):
                setattr(connection, name, wrapped)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for service, reason in sorted(services.MISSING.items()):
        terminalreporter.write_line(f"SKIPPED without {service}: {reason}")
