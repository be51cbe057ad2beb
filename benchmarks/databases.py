"""The databases of the benchmark: made for it, dropped after it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connections
from django.db.utils import ConnectionHandler

from benchmarks.models import GatewayPayment, Payment
from benchmarks.settings import postgresql


@contextmanager
def fresh_database(alias: str, *app: str) -> Iterator[None]:
    """
    An empty database under this alias, with the tables of one app or of all, and the payments.

    Whatever was there under its name is dropped before, and this one afterwards.
    """
    name = connections[alias].settings_dict["NAME"]
    on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
    try:
        call_command("migrate", *app, database=alias, verbosity=0)
        with connections[alias].schema_editor() as editor:
            editor.create_model(Payment)
            editor.create_model(GatewayPayment)
        yield
    finally:
        connections[alias].close()
        on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def on_server(*statements: str) -> None:
    server = ConnectionHandler({"default": postgresql("postgres")})["default"]
    with server.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    server.close()


@contextmanager
def slower_flush(alias: str, microseconds: int) -> Iterator[None]:
    """Every commit that waits for the disk waits so much longer: PostgreSQL's own delay before a flush."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SET commit_siblings = 0; SET commit_delay = {microseconds}")
        yield
        cursor.execute("RESET commit_siblings; RESET commit_delay")


def run(alias: str, statement: str, parameters: tuple[object, ...] = ()) -> int:
    """The number of rows that the statement touched."""
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def ask(alias: str, statement: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return str(cursor.fetchone()[0])
