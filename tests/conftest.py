"""What every test may need: the in-process database, and live servers for those that ask."""

import os
from typing import Any

import pytest

from tests.support import services
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

# They ask no database. `make test` runs them once, with SQLite, and a plain pytest does, too.
collect_ignore = ["model", "gateways"] if os.environ.get("IDEMPOTENCY_TEST_DB") in ("postgresql", "mariadb") else []


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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for service, reason in sorted(services.MISSING.items()):
        terminalreporter.write_line(f"SKIPPED without {service}: {reason}")
