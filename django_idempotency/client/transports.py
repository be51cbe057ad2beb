"""The two spellings of sending and waiting. What is decided about it is in attempts.py."""

from __future__ import annotations

from contextlib import aclosing, closing
from typing import cast

import httpx

from .answers import read
from .attempts import Attempts, Outcome, Rules
from .clocks import Clock
from .intents import asked
from .servers import Server
from .stores import IntentStore

TOO_SLOW = "The answer was not complete when the time for the request was up."


class IdempotentTransport(httpx.BaseTransport):
    """
    Sends a request with an intent until its outcome is known, with one effect; any other request once.

        transport = IdempotentTransport(httpx.HTTPTransport(), namespace="shop", server=server, store=DatabaseIntents())
        with httpx.Client(transport=transport) as client:
            client.post(url, json={"amount": 500}, extensions=intent("order", 42, "capture"))

    `namespace` keeps the intents of this service apart from those of others that use the same account: once it is changed,
    each intent has another key. `deadline` is in seconds and covers all attempts at a request. `wait` is how many seconds
    the server is asked to hold an answer back while an earlier attempt is running (RFC 7240); 0: do not ask.

    Raises what errors.py draws, and httpx's own errors where certainly nothing was sent.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        *,
        namespace: str,
        server: Server,
        store: IntentStore,
        deadline: float = 60,
        wait: int = 0,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or Clock()
        self._rules = Rules(namespace=namespace, server=server, deadline=deadline, wait=wait, clock=clock)
        self._transport, self._store = transport, store

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        rules = self._rules
        found = asked(request, rules.server, namespace=rules.namespace, now=rules.clock.now())
        if found is None:
            return self._transport.handle_request(request)
        stored, new = self._store.remember(found.intent)
        attempts = Attempts(found, rules, stored, new=new)
        while True:
            outcome = self._outcome(attempts)
            pause = attempts.pause_after(outcome)
            if pause is not None:
                rules.clock.sleep(pause)
            if pause is None or attempts.too_late():
                return attempts.end(outcome).whole()

    def _outcome(self, attempts: Attempts) -> Outcome:
        content = bytearray()
        try:
            response = self._transport.handle_request(attempts.request())
            with closing(response):
                for chunk in cast(httpx.SyncByteStream, response.stream):
                    content += chunk
                    _refuse_slow(attempts)
        except httpx.TransportError as exc:
            return exc
        return read(response, bytes(content), self._rules.server)

    def close(self) -> None:
        self._transport.close()


class AsyncIdempotentTransport(httpx.AsyncBaseTransport):
    """The same for `httpx.AsyncClient`."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        namespace: str,
        server: Server,
        store: IntentStore,
        deadline: float = 60,
        wait: int = 0,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or Clock()
        self._rules = Rules(namespace=namespace, server=server, deadline=deadline, wait=wait, clock=clock)
        self._transport, self._store = transport, store

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        rules = self._rules
        found = asked(request, rules.server, namespace=rules.namespace, now=rules.clock.now())
        if found is None:
            return await self._transport.handle_async_request(request)
        stored, new = await self._store.aremember(found.intent)
        attempts = Attempts(found, rules, stored, new=new)
        while True:
            outcome = await self._outcome(attempts)
            pause = attempts.pause_after(outcome)
            if pause is not None:
                await rules.clock.asleep(pause)
            if pause is None or attempts.too_late():
                return attempts.end(outcome).whole()

    async def _outcome(self, attempts: Attempts) -> Outcome:
        content = bytearray()
        try:
            response = await self._transport.handle_async_request(attempts.request())
            async with aclosing(response):
                async for chunk in cast(httpx.AsyncByteStream, response.stream):
                    content += chunk
                    _refuse_slow(attempts)
        except httpx.TransportError as exc:
            return exc
        return read(response, bytes(content), self._rules.server)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _refuse_slow(attempts: Attempts) -> None:
    if attempts.too_late():
        raise httpx.ReadTimeout(TOO_SLOW)
