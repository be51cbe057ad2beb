"""A live server that takes payments through the fake gateway, and what the tests hold of both."""

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from django_idempotency.gateways.fake import FakeGateway, Fault
from tests.support.barriers import Barriers, Gate
from tests.support.databases import RECORD
from tests.support.live import Live, Servers, gunicorn

FINAL = {"completed", "unknown"}
LONG_AGO = "2020-01-01 00:00:00"
LEASE = 2.0
PATIENCE = 20.0
# No two payments have the same amount, nor does one that is taken too much of.
AMOUNTS = itertools.count(1000, 10)
MIDDLEWARE = [
    "tests.operations.kills.points.numbering",
    "tests.support.points.PointsMiddleware",
    "tests.bank.auth.HeaderUserMiddleware",
]


def command(listener: int, workers: int, threads: int) -> list[str]:
    served = gunicorn(listener, workers, threads)
    return [part.replace("tests.support.wsgi:", "tests.operations.kills.server:") for part in served]


def settings(gateway: FakeGateway, **more: Any) -> dict[str, Any]:
    return {
        "ROOT_URLCONF": "tests.operations.kills.urls",
        "MIDDLEWARE": MIDDLEWARE,
        "IDEMPOTENCY": {"default": {"LEASE": timedelta(seconds=LEASE)}},
        "GATEWAY": gateway.url,
        **more,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One payment that somebody wants. `key` is its key, and its name in the ledger."""

    key: str
    amount: int
    path: str = "/plain/pay"

    @property
    def data(self) -> dict[str, Any]:
        return {"order": self.key, "amount": self.amount}


class Shop:
    """The server and its gateway."""

    def __init__(self, live: Live, gateway: FakeGateway, barriers: Barriers, vendor: str) -> None:
        self.live, self.gateway, self.barriers, self.vendor = live, gateway, barriers, vendor

    def order(self, key: str, path: str = "/plain/pay", faults: Iterable[Fault] = ()) -> Order:
        """Return what the next request is to be for; the gateway will fail like this."""
        self.gateway.faults.set(faults)
        return Order(key=key, amount=next(AMOUNTS), path=path)

    def ask(self, order: Order, at: Gate | None = None) -> httpx.Response:
        return self.live.client.post(order.path, order.data, key=order.key, at=at)

    def start(self, order: Order, at: Gate) -> Any:
        return self.live.client.start(order.path, order.data, key=order.key, at=at)

    def kill(self, order: Order, point: str) -> None:
        """Ask, and kill the worker when it comes to this point."""
        gate = self.barriers.gate(point)
        dying = self.start(order, gate)
        gate.reached().kill()
        assert isinstance(dying.exception(), httpx.TransportError)

    def kill_upkeep(self, point: str) -> None:
        gate = self.barriers.gate(point)
        dying = self.live.client.pool.submit(self.upkeep, gate)
        gate.reached().kill()
        assert isinstance(dying.exception(), httpx.TransportError)

    def upkeep(self, at: Gate | None = None) -> dict[str, int]:
        """Resume what is due, in a worker."""
        answer = self.live.client.post("/upkeep", at=at)
        assert answer.status_code == 200, self.live.log()
        resumed: dict[str, int] = answer.json()
        return resumed

    def lapse(self, order: Order) -> None:
        """Let an operation's lease have run out, and its pause be over."""
        self.live.database.query(
            f"UPDATE {RECORD} SET lease_until = '{LONG_AGO}', resume_at = '{LONG_AGO}'"
            " WHERE key = ? AND state = 'processing'",
            order.key,
        )

    def finish(self, order: Order) -> None:
        """Let upkeep go on with an operation until it has ended; where there is none, its client asks again."""
        deadline = time.monotonic() + PATIENCE
        while (state := self.live.database.state(order.key)) not in FINAL:
            assert time.monotonic() < deadline, f"it stays {state}: {self.live.log()}"
            if state is None:
                self.ask(order)
            else:
                self.lapse(order)
                self.upkeep()
            # Whoever waited for a call that is still under way has given it up by now.
            self.gateway.barriers.release()

    def charges(self, order: Order) -> list[dict[str, Any]]:
        """Return what the gateway has taken for an order, under whatever key."""
        return [charge for charge in self.gateway.charges if charge["amount"] in (order.amount, order.amount + 1)]

    def sent(self, order: Order) -> int:
        """Return how often the gateway was called."""
        return self.live.runs(f"sent {order.key}")

    def paid(self, order: Order) -> int:
        """Return how often the ledger says that it was paid."""
        return self.live.database.effects(order.key)

    def incidents(self, order: Order) -> list[str]:
        rows = self.live.database.query(
            "SELECT incident.kind FROM django_idempotency_idempotencyincident AS incident"
            f" JOIN {RECORD} AS record ON record.id = incident.record_id WHERE record.key = ?",
            order.key,
        )
        return sorted(kind for (kind,) in rows)

    def written(self, order: Order) -> list[tuple[Any, ...]]:
        """Return all that was written for an order, but for the times."""
        steps = self.live.database.query(
            "SELECT step.position, step.result FROM django_idempotency_idempotencystep AS step"
            f" JOIN {RECORD} AS record ON record.id = step.record_id WHERE record.key = ? ORDER BY step.position",
            order.key,
        )
        record = self.live.database.query(f"SELECT state, token, status FROM {RECORD} WHERE key = ?", order.key)
        return [*steps, *record, (self.paid(order), self.live.database.effects(f"reserved {order.key}"))]

    def write(self, order: Order, changes: str) -> None:
        """Change an operation's record behind everybody's back."""
        self.live.database.query(f"UPDATE {RECORD} SET {changes} WHERE key = ?", order.key)

    def age(self, order: Order, by: timedelta) -> None:
        """Let an operation's calls have been sent earlier."""
        database = self.live.database
        database.query(
            f"UPDATE django_idempotency_idempotencystep SET requested_at = {database.shifted('requested_at', by)}"
            f" WHERE record_id = (SELECT id FROM {RECORD} WHERE key = ?)",
            order.key,
        )

    def settle(self, order: Order) -> None:
        """Charged once, in the ledger once, answered once, and every retry gets that answer, byte by byte."""
        assert (len(self.charges(order)), self.paid(order)) == (1, 1), self.live.log()
        assert self.live.database.effects(f"reserved {order.key}") == 1
        first, second = self.ask(order), self.ask(order)
        assert (first.status_code, first.json()["nonce"]) == (201, self.live.database.nonces(order.key)[0])
        assert first.json()["reference"] == self.charges(order)[0]["id"]
        assert first.headers["Idempotent-Replayed"] == second.headers["Idempotent-Replayed"] == "true"
        assert first.content == second.content
        assert self.live.database.state(order.key) == "completed"

    def doubt(self, order: Order, *, charges: int) -> None:
        """Nobody knows, the staff is told, and no retry changes anything."""
        answer = self.ask(order)
        assert (answer.status_code, answer.json()["code"]) == (409, "outcome-unknown")
        assert (self.live.database.state(order.key), self.paid(order)) == ("unknown", 0)
        assert "unknown" in self.incidents(order)
        assert len(self.charges(order)) == charges


def open_shop(servers: Servers, vendor: str, gateway: FakeGateway, barriers: Barriers) -> Shop:
    """Return the shop on a database, opened by the first test that asks for it."""
    patience = {"OPTIONS": {"timeout": 10}} if vendor == "sqlite" else {}
    live = servers.get(vendor, command=command, place=patience, **settings(gateway))
    return Shop(live, gateway, barriers, vendor)
