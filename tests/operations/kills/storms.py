"""Clients that give up early, killed workers, a gateway that fails and upkeep, all at once."""

import random
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil

from django_idempotency.gateways.fake import Fault, Kind
from tests.operations.kills.shops import LONG_AGO, PATIENCE, Order, Shop
from tests.support.databases import RECORD

WAYS = [
    *(Kind.LOST, Kind.ERROR_BEFORE, Kind.ERROR_AFTER, Kind.LATE, Kind.CUT),
    *(Kind.LATENCY, Kind.DRIP, Kind.WRONG_AMOUNT, Kind.UNKNOWN_STATUS),
]


def failing(share: float) -> list[Fault]:
    """Return faults of every kind, in all this share of the calls, and of the look-ups."""
    # The first that applies befalls a call: each later one needs a little more.
    calls = [
        Fault(kind=kind, probability=share / len(WAYS) / (1 - share * n / len(WAYS)), seconds=1)
        for n, kind in enumerate(WAYS)
    ]
    lookups = [
        Fault(kind=Kind.LOOKUP_DOWN, probability=share / 2),
        Fault(kind=Kind.LOOKUP_LATENCY, probability=share / 2, seconds=1),
    ]
    return [*calls, *lookups]


A_KILL_EVERY = 20
"""Answers: on a machine with much else to do, workers that are killed by the clock would never get to serve."""


class Storm:
    def __init__(self, shop: Shop, orders: list[Order]) -> None:
        self.shop, self.orders = shop, orders
        self.calm = threading.Event()
        self.served = 0
        self.kills = 0
        self.skew = 0.0
        self.answers: dict[str, set[bytes]] = defaultdict(set)
        self.others: Counter[int | str] = Counter()

    def rage(self, clients: int) -> None:
        """Until every client has its answer or has given up; its own error ends it and fails the test."""
        with ThreadPoolExecutor(clients + 2) as pool:
            chaos = [pool.submit(self._kill), pool.submit(self._upkeep)]
            wanting = [pool.submit(self._want, order) for order in self.orders]
            try:
                for job in wanting:
                    job.result()
            finally:
                self.calm.set()
            for job in chaos:
                job.result()

    def end(self) -> None:
        """Let upkeep finish what is left. Leases run out by themselves."""
        deadline = time.monotonic() + PATIENCE * 4
        with ThreadPoolExecutor(4) as pool:
            while self._processing():
                assert time.monotonic() < deadline, self.shop.live.log()
                # Several at once: none is in another's way.
                for job in [pool.submit(self._resume) for _ in range(4)]:
                    job.result()

    def _processing(self) -> int:
        rows = self.shop.live.database.query(f"SELECT count(*) FROM {RECORD} WHERE state = 'processing'")
        return int(rows[0][0])

    def _want(self, order: Order) -> None:
        """A client that asks until it has heard something: at most four times that its payment is not done yet."""
        patience = 4
        while patience:
            try:
                answer = self.shop.ask(order)
            except httpx.TransportError as error:
                self.others[type(error).__name__] += 1
                continue
            self.served += 1
            self.skew = max(self.skew, abs(float(answer.headers["X-Test-Clock"]) - time.time()))
            if answer.status_code == 201:
                self.answers[order.key].add(answer.content)
                return
            self.others[answer.status_code] += 1
            patience -= 1
            if not answer.json()["retryable"]:
                return
            time.sleep(0.05)

    def _kill(self) -> None:
        while not self.calm.wait(0.1):
            if self.served < (self.kills + 1) * A_KILL_EVERY:
                continue
            workers = psutil.Process(self.shop.live.process.pid).children()
            if workers:
                random.choice(workers).kill()
                self.kills += 1

    def _upkeep(self) -> None:
        while not self.calm.wait(0.3):
            self._resume()

    def _resume(self) -> None:
        # Its pauses are minutes long. Leases are left as they are.
        self.shop.live.database.query(f"UPDATE {RECORD} SET resume_at = '{LONG_AGO}' WHERE state = 'processing'")
        with suppress(httpx.TransportError):
            self.shop.live.client.post("/upkeep")
