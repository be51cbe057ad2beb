"""Real Celery workers, each with a queue and a database of its own, and what the tests hold of them."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from redis import Redis

from tests.bank import runs
from tests.celery.app import ASKED, CONFIGURATION, configured
from tests.support import points
from tests.support.barriers import Gate
from tests.support.databases import Database, environment
from tests.support.live import Servers

PATIENCE = 30.0
NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A queue, and the processes that work on it."""

    app: Celery
    database: Database
    directory: Path
    environment: dict[str, str]
    processes: "list[subprocess.Popen[bytes]]"

    def send(self, task: str, *args: Any, at: Gate | None = None, **options: Any) -> "AsyncResult[Any]":
        """Send a task; it is held where the gate says."""
        return self._send(f"shop.{task}", args, at, **options)

    def send_upkeep(self, task: str, *, at: Gate | None = None, **arguments: Any) -> "AsyncResult[Any]":
        """Send a task of upkeep; it is held where the gate says."""
        return self._send(f"django_idempotency.tasks.{task}", (), at, kwargs=arguments)

    def _send(self, name: str, args: tuple[Any, ...], at: Gate | None, **options: Any) -> "AsyncResult[Any]":
        return self.app.send_task(name, args, headers={ASKED: at.header} if at else {}, **options)

    def result(self, sent: "AsyncResult[Any]") -> Any:
        """Return what the task returned, or raise what it raised."""
        return sent.get(timeout=PATIENCE, interval=0.02)

    def wait_for(self, sent: "AsyncResult[Any]", state: str) -> None:
        """Return once a task is in a state, as Celery calls it."""
        deadline = time.monotonic() + PATIENCE
        while sent.state != state:
            assert time.monotonic() < deadline, f"{sent.state}: {self.log()}"
            time.sleep(0.02)

    def runs(self, key: str) -> int:
        """Return how often the task was entered under a key, whatever became of it."""
        return (self.directory / "runs").read_text().splitlines().count(key)

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start one more Celery program on the queue."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app=tests.celery.app", *arguments],
                env=self.environment,
                cwd=self.directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def log(self) -> str:
        """Return what the programs have printed."""
        return (self.directory / "log").read_text()

    def close(self) -> None:
        """End the programs with all their processes, and remove the queue."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self._remove_queue()
        self.app.close()

    def _remove_queue(self) -> None:
        name = self.app.conf.task_default_queue
        with self.app.connection_for_write() as connection:
            queue = self.app.amqp.queues[name](connection.default_channel)
            queue.delete()
            queue.exchange.delete()
        if self.app.conf.broker_url.startswith("redis"):
            with Redis.from_url(self.app.conf.broker_url) as store:
                store.delete(*store.keys(f"{name}:*"), name)


class Workers:
    """Starts workers and ends them with the session."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.shared: dict[tuple[str, str], Worker] = {}
        self.started: list[Worker] = []

    def get(self, vendor: str, broker: str) -> Worker:
        """Return the worker on a database behind a broker, started by the first test that asks for it."""
        if (vendor, broker) not in self.shared:
            worker = self.shared[vendor, broker] = self.prepare(self.servers.databases.new(vendor), broker)
            worker.start(*processes(2))
        return self.shared[vendor, broker]

    @contextlib.contextmanager
    def own(self, vendor: str, broker: str, **options: Any) -> Iterator[Worker]:
        """Give one test a queue that nobody works on yet."""
        worker = self.prepare(self.servers.databases.new(vendor), broker, **options)
        try:
            yield worker
        finally:
            self.started.remove(worker)
            worker.close()

    def prepare(self, database: Database, broker: str, *, visibility: float = 600, **configuration: Any) -> Worker:
        """Return a queue that nobody works on yet. Redis gives up on a consumer after `visibility` seconds."""
        directory = Path(tempfile.mkdtemp(dir=self.servers.databases.home))
        (directory / "runs").touch()
        (directory / "results").mkdir()
        queue = f"idempotency-test-{os.getpid()}-{next(NUMBERS)}"
        redis = {"visibility_timeout": visibility, "global_keyprefix": f"{queue}:"}
        # Else it looks once in a hundred seconds for what has become visible again.
        redis |= {"unacked_restore_interval": 0.2, "unacked_restore_throttle": 1}
        configuration = {
            "broker_url": broker,
            "broker_transport_options": redis if broker.startswith("redis") else {},
            "broker_connection_retry_on_startup": True,
            "result_backend": f"file://{directory}/results",
            "task_default_queue": queue,
            "worker_enable_remote_control": False,
            "worker_prefetch_multiplier": 1,
            "imports": ["tests.celery.shop"],
            **configuration,
        }
        variables = {
            runs.FILE: str(directory / "runs"),
            points.ADDRESS: str(self.servers.barrier_port),
            CONFIGURATION: json.dumps(configuration),
        }
        worker = Worker(
            app=configured(configuration, set_as_current=False),
            database=database,
            directory=directory,
            environment=environment({"DATABASES": {"default": database.settings}}) | variables,
            processes=[],
        )
        self.started.append(worker)
        return worker

    def close(self) -> None:
        for worker in self.started:
            worker.close()


def processes(number: int) -> list[str]:
    """Return the arguments of a worker that forks."""
    return ["worker", "--pool=prefork", f"--concurrency={number}", *QUIET]


def alone() -> list[str]:
    """Return the arguments of a worker that does all in one process."""
    return ["worker", "--pool=solo", *QUIET]


QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO"]
