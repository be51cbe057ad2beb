"""Live servers: gunicorn with the tests' bank, each on a database and a port of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bank import runs
from tests.support import points
from tests.support.clients import Client
from tests.support.databases import Database, Databases, environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A running server and what the tests hold of it."""

    process: "subprocess.Popen[bytes]"
    client: Client
    database: Database
    directory: Path

    def runs(self, key: str) -> int:
        """Return how often the view was entered under a key, whatever became of it."""
        return (self.directory / "runs").read_text().splitlines().count(key)

    def log(self) -> str:
        """Return what the server has printed."""
        return (self.directory / "log").read_text()

    def close(self) -> None:
        """End the whole process group, stopped workers included."""
        self.client.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Ends its input as well.
            self.process.terminate()
            self.process.communicate(timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Servers:
    """Starts live servers and ends them with the session."""

    def __init__(self, barrier_port: int) -> None:
        self.barrier_port = barrier_port
        self.databases = Databases()
        self.shared: dict[str, Live] = {}
        self.started: list[Live] = []

    def get(self, vendor: str, **options: Any) -> Live:
        """Return the server with these options, started by the first test that asks for it."""
        name = f"{vendor} {sorted(options.items())}"
        if name not in self.shared:
            self.shared[name] = self.start(self.databases.new(vendor), **options)
        return self.shared[name]

    def start(
        self,
        database: Database,
        *,
        workers: int = 2,
        threads: int = 8,
        place: dict[str, Any] | None = None,
        command: Callable[[int, int, int], list[str]] | None = None,
        **settings: Any,
    ) -> Live:
        """Start a server on a database; `place` changes how the server reaches it, the rest are Django's settings."""
        directory = Path(tempfile.mkdtemp(dir=self.databases.home))
        (directory / "runs").touch()
        databases = {"default": {**database.settings, **(place or {})}}
        variables = {runs.FILE: str(directory / "runs"), points.ADDRESS: str(self.barrier_port)}
        with socket.socket() as listener, (directory / "log").open("wb") as log:
            listener.bind(("127.0.0.1", 0))
            listener.listen(256)
            process = subprocess.Popen(
                (command or gunicorn)(listener.fileno(), workers, threads),
                env=environment({"DATABASES": databases, **settings}) | variables,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
            client = Client(listener.getsockname()[1])
        live = Live(process=process, client=client, database=database, directory=directory)
        self.started.append(live)
        assert client.request("GET", "/plain/ready").status_code == 200, live.log()
        return live

    def stop(self, live: Live) -> None:
        """End a server that only some tests needed, so that few run at a time."""
        self.started.remove(live)
        live.close()

    def close(self) -> None:
        for live in self.started:
            live.process.terminate()
        for live in self.started:
            live.close()
        self.databases.close()


def gunicorn(listener: int, workers: int, threads: int) -> list[str]:
    """Return the command; the socket is open already, so a request sent now waits for the first worker."""
    options = {
        "config": "python:tests.support.gunicorn_conf",
        "bind": f"fd://{listener}",
        "workers": workers,
        "threads": threads,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "gunicorn", "tests.support.wsgi:application", *arguments]
