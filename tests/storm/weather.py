"""What goes on in a storm: clients that never give up, and everything that makes them need it."""

import itertools
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import psutil

from tests.support.databases import PostgresDatabase, SqliteDatabase, environment
from tests.support.live import Live

SCRIPTS = ["pay", "declined", "slow", "sometimes", "slow", "pay"]
SETTLED = {201, 402}
SERVED_BETWEEN = 10
"""Answers, between two acts of chaos."""


@dataclass(slots=True)
class Log:
    """What the clients were told, by key."""

    answers: dict[str, set[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(set))
    others: dict[int | str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, slots=True)
class Wish:
    """A payment that some client wants."""

    key: str
    path: str
    script: str


class Storm:
    """Clients and chaos round one server."""

    def __init__(self, live: Live, paths: list[str]) -> None:
        self.live, self.paths = live, paths
        self.log = Log()
        self.numbers = itertools.count(1)
        self.recent: list[Wish] = []
        self.over = threading.Event()
        self.served = 0

    def rage(self, seconds: float, clients: int) -> None:
        """Let it all loose for so many seconds."""
        with ThreadPoolExecutor(clients + 1) as pool:
            jobs = [pool.submit(self._client) for _ in range(clients)] + [pool.submit(self._chaos)]
            # A client's or the chaos' own error ends the storm at once and fails the test.
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not any(job.done() for job in jobs):
                self.over.wait(0.1)
            self.over.set()
            for job in jobs:
                job.result()

    def _client(self) -> None:
        while not self.over.is_set():
            self._want(self._wish())

    def _wish(self) -> Wish:
        # Half of the time it is what somebody else is asking for, or has just asked for.
        if self.recent and random.random() < 0.5:
            return random.choice(self.recent[-8:])
        number = next(self.numbers)
        wish = Wish(f"storm-{number}", self.paths[number % len(self.paths)], SCRIPTS[number % len(SCRIPTS)])
        self.recent.append(wish)
        return wish

    def _want(self, wish: Wish) -> None:
        """Ask until there is an answer to keep; the storm's end does not end a client's patience."""
        for _ in range(400):
            try:
                answer = self.live.client.post(wish.path, {"amount": 5, "then": wish.script}, key=wish.key)
            except httpx.TransportError as error:
                self.log.others[type(error).__name__] += 1
                continue
            self.served += 1
            if answer.status_code in SETTLED:
                self.log.answers[wish.key].add((answer.status_code, answer.content))
                return
            self.log.others[answer.status_code] += 1
            assert answer.status_code in {409, 500, 503}, answer.text
            assert answer.status_code == 500 or answer.json()["retryable"], answer.text
            time.sleep(0.05)
        raise AssertionError(f"{wish} is stuck")

    def _chaos(self) -> None:
        acts: list[Callable[[], None]] = [self._kill_a_worker]
        if not isinstance(self.live.database, SqliteDatabase):
            acts.append(self._recover)
        if isinstance(self.live.database, PostgresDatabase):
            acts.append(self._cut_a_connection)
        enough, in_turn = 0, itertools.cycle(acts)
        while not self.over.wait(0.7):
            # Else, on a machine with much else to do, no worker would live until it serves.
            if self.served >= enough:
                next(in_turn)()
                enough = self.served + SERVED_BETWEEN

    def _kill_a_worker(self) -> None:
        workers = psutil.Process(self.live.process.pid).children()
        if workers:
            random.choice(workers).kill()

    def _recover(self) -> None:
        command = [sys.executable, "-m", "django", "idempotency_recover", "--older-than=1", "--verbosity=0"]
        settings = {"DATABASES": {"default": self.live.database.settings}}
        subprocess.run(command, check=True, env=environment(settings), timeout=120)

    def _cut_a_connection(self) -> None:
        self.live.database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'bank'"
            " ORDER BY random() LIMIT 1"
        )
