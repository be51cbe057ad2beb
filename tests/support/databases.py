"""Databases for live servers, copied from a migrated template, and read by the tests behind the server's back."""

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support import services

RECORD = "django_idempotency_idempotencyrecord"
TIMES = ["claimed_at", "completed_at", "expires_at", "forget_at"]


class Database:
    """What was done under a key, and what is remembered of it."""

    settings: dict[str, Any]

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def shifted(self, column: str, by: timedelta) -> str:
        raise NotImplementedError

    def drop(self) -> None:
        raise NotImplementedError

    def session(self) -> Any:
        """Return a session with which a test takes part; its transaction ends with the block it is used in."""
        raise NotImplementedError

    def wait_until_blocked(self, backend: int) -> None:
        """Return once a connection waits for a lock."""
        raise NotImplementedError

    def terminate(self, backend: int) -> None:
        """Cut a connection as an administrator does, and return when it is gone."""
        raise NotImplementedError

    def effects(self, key: str) -> int:
        """Return how many payments were made under a key."""
        return int(self.query("SELECT count(*) FROM bank_payment WHERE key = ?", key)[0][0])

    def nonces(self, key: str) -> list[str]:
        """Return what tells the runs of a key that took effect apart."""
        return [nonce for (nonce,) in self.query("SELECT nonce FROM bank_payment WHERE key = ?", key)]

    def state(self, key: str) -> str | None:
        """Return the state of a key's record, None without one."""
        rows = self.query(f"SELECT state FROM {RECORD} WHERE key = ?", key)
        assert len(rows) <= 1, f"{len(rows)} records of {key}"
        return rows[0][0] if rows else None

    def expire(self, key: str) -> None:
        """Let a key's answer expire now."""
        self.age(key, timedelta(hours=73))

    def forget(self, key: str) -> None:
        """Let the tombstone end too."""
        self.age(key, timedelta(days=31))

    def age(self, key: str, by: timedelta) -> None:
        """Move everything that happened to a key into the past."""
        changes = ", ".join(f"{column} = {self.shifted(column, by)}" for column in TIMES)
        self.query(f"UPDATE {RECORD} SET {changes} WHERE key = ?", key)


class PostgresDatabase(Database):
    """One database of a PostgreSQL."""

    def __init__(self, server: services.Server, name: str, template: str | None = None) -> None:
        self.server, self.name = server, name
        self.settings = server.database(name)
        self._administer(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(**self.server.dsn(self.name), autocommit=True) as connection:
            cursor = connection.execute(sql.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []

    def shifted(self, column: str, by: timedelta) -> str:
        return f"{column} - interval '{by.total_seconds()} seconds'"

    def session(self) -> Any:
        """Return a connection with which a test takes part; its transaction ends with the block it is used in."""
        import psycopg

        return psycopg.connect(**self.server.dsn(self.name))

    def wait_until_blocked(self, backend: int) -> None:
        """Return once a connection waits for a lock."""
        deadline = time.monotonic() + 5
        while not self.query("SELECT pid FROM pg_locks WHERE pid = ? AND NOT granted", backend):
            assert time.monotonic() < deadline, "it waits for nothing"
            time.sleep(0.01)

    def terminate(self, backend: int) -> None:
        """Cut a connection as an administrator does, and return when it is gone."""
        self.query("SELECT pg_terminate_backend(?, 5000)", backend)

    def drop(self) -> None:
        self._administer(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def _administer(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(**self.server.dsn(), autocommit=True) as connection:
            connection.execute(sql)


class MariaDatabase(Database):
    """One database of a MariaDB."""

    def __init__(self, server: services.Server, name: str, template: str | None = None) -> None:
        self.server, self.name = server, name
        self.settings = server.database(name)
        with self.session(None) as session:
            session.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
            tables = session.execute(f"SHOW TABLES FROM `{template}`").fetchall() if template else []
            for (table,) in tables:
                session.execute(f"CREATE TABLE `{name}`.`{table}` LIKE `{template}`.`{table}`")

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.session() as session:
            session.connection.autocommit(True)
            # A word of MariaDB's own language.
            cursor = session.execute(re.sub(r"\bkey\b", "`key`", sql).replace("?", "%s"), parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def shifted(self, column: str, by: timedelta) -> str:
        return f"{column} - INTERVAL {by.total_seconds()} SECOND"

    def session(self, name: str | None = "") -> "MariaSession":
        """Return a session with which a test takes part; its transaction ends with the block it is used in."""
        return MariaSession(self.server, self.name if name == "" else name)

    def wait_until_blocked(self, backend: int) -> None:
        """Return once a connection waits for a lock."""
        waiting = (
            "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = ?"
        )
        self._wait(lambda: bool(self.query(waiting, backend)))

    def terminate(self, backend: int) -> None:
        """Cut a connection as an administrator does, and return when it is gone."""
        self.query(f"KILL {backend}")
        self._wait(lambda: not self.query("SELECT 1 FROM information_schema.processlist WHERE id = ?", backend))

    def drop(self) -> None:
        with self.session(None) as session:
            # Else a connection that is still open keeps the tables.
            session.execute("SET lock_wait_timeout = 20")
            session.execute(f"DROP DATABASE IF EXISTS `{self.name}`")

    def _wait(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not done():
            assert time.monotonic() < deadline, "it does not come"
            # What InnoDB tells of itself is a tenth of a second old, and as old as before where it is asked more often.
            time.sleep(0.15)


class MariaSession:
    """A connection that commits nothing."""

    def __init__(self, server: services.Server, name: str | None) -> None:
        import MySQLdb

        place = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        self.connection = MySQLdb.connect(**place, charset="utf8mb4", **({"database": name} if name else {}))

    def __enter__(self) -> "MariaSession":
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def execute(self, sql: str, parameters: Any = None) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(sql, parameters)
        return cursor


class SqliteDatabase(Database):
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=10)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def shifted(self, column: str, by: timedelta) -> str:
        return f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-{by.total_seconds()} seconds')"

    def drop(self) -> None:
        """Leave the file to its temporary directory."""


class Databases:
    """Makes databases and drops them all at the end."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="idempotency-databases-"))
        self.numbers = itertools.count(1)
        self.templates: dict[services.Server | None, Database] = {}
        self.made: list[Database] = []

    def new(self, vendor: str, server: services.Server | None = None) -> Database:
        """Return a migrated database: a SQLite file, or one on the tests' PostgreSQL or MariaDB or on another server."""
        if vendor == "sqlite":
            return self._new_file()
        if vendor == "mariadb":
            return self._new_copy(MariaDatabase, server or services.mariadb())
        return self._new_copy(PostgresDatabase, server or services.postgresql())

    def close(self) -> None:
        for database in self.made:
            database.drop()
        shutil.rmtree(self.home)

    def abandon(self, server: services.Server) -> None:
        """Forget the databases of a server that is about to go away with all it has."""
        del self.templates[server]
        self.made = [database for database in self.made if getattr(database, "server", None) != server]

    def _new_copy(self, kind: "type[PostgresDatabase | MariaDatabase]", server: services.Server) -> Database:
        template = self.templates.get(server)
        if template is None:
            template = self.templates[server] = self._migrated(kind(server, self._name()))
        copy = kind(server, self._name(), template=template.settings["NAME"])
        self.made.append(copy)
        return copy

    def _new_file(self) -> SqliteDatabase:
        template = self.templates.get(None)
        if template is None:
            template = self.templates[None] = self._migrated(SqliteDatabase(self.home / self._name()))
        return SqliteDatabase(Path(shutil.copy(template.settings["NAME"], self.home / self._name())))

    def _name(self) -> str:
        return f"idempotency_live_{os.getpid()}_{next(self.numbers)}"

    def _migrated(self, database: Database) -> Database:
        self.made.append(database)
        command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"]
        subprocess.run(command, check=True, env=environment({"DATABASES": {"default": database.settings}}))
        return database


def environment(settings: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a process that runs the tests' bank with these settings on top."""
    database = settings["DATABASES"]["default"]["ENGINE"].rpartition(".")[2]
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.support.live_settings",
        "IDEMPOTENCY_TEST_DB": {"sqlite3": "sqlite", "mysql": "mariadb"}.get(database, database),
        "IDEMPOTENCY_TEST_SETTINGS": json.dumps(settings, default=_seconds),
        # The packages that this process imports, whichever way it found them.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def _seconds(value: timedelta) -> dict[str, float]:
    return {"seconds": value.total_seconds()}
