"""A service that calls others: sync or async, with a clock that the test moves."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from asgiref.sync import sync_to_async
from django.db import connections

from django_idempotency.client import (
    AsyncIdempotentTransport,
    Clock,
    IdempotentTransport,
    IntentStore,
    MemoryIntents,
    Server,
    intent,
)

DAY = timedelta(hours=24)
CAPTURE = intent("order", 42, "capture")


class StillClock(Clock):
    """Moves by what is slept, and never waits. Jitter is all that it may be."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []
        self.drift = timedelta(0)
        self.while_asleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, tzinfo=UTC) + timedelta(seconds=self.seconds) + self.drift

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds
        self.while_asleep()

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def jitter(self, most: float) -> float:
        return most


class Shop:
    """Sends requests to one server by a transport of one kind."""

    def __init__(self, kind: str, server: Server, *, store: IntentStore | None = None, **options: Any) -> None:
        self.kind, self.server = kind, server
        self.clock = StillClock()
        self.store = store or MemoryIntents()
        self.options = {"namespace": "shop", "server": server, "store": self.store, "clock": self.clock, **options}

    def post(
        self, body: Any = None, *, path: str = "/pay", extensions: Any = CAPTURE, **options: Any
    ) -> httpx.Response:
        """POST to the server, as the shop's process would."""
        given = {"json": {"amount": 500} if body is None else body} if "content" not in options else {}
        return self.request("POST", path, extensions=extensions, **given, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = path if path.startswith("http") else self.server.origin + path
        if self.kind == "async":
            return asyncio.run(self._arequest(method, url, **options))
        transport = IdempotentTransport(httpx.HTTPTransport(), **self.options)
        with httpx.Client(transport=transport, timeout=10) as client:
            return client.request(method, url, **options)

    async def _arequest(self, method: str, url: str, **options: Any) -> httpx.Response:
        transport = AsyncIdempotentTransport(httpx.AsyncHTTPTransport(), **self.options)
        async with httpx.AsyncClient(transport=transport, timeout=10) as client:
            try:
                return await client.request(method, url, **options)
            finally:
                # Those of asgiref's thread, which the test's database could not be dropped under.
                await sync_to_async(connections.close_all)()
