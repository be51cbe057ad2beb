"""
A gateway that fails on purpose, as a real HTTP server. `python -m django_idempotency.gateways.fake` runs one.

    POST /charges    {"amount": 1250, "currency": "EUR", "card": "4242…", "capture": true}   Idempotency-Key: …
    POST /captures   {"amount": 1250, "currency": "EUR", "charge": "ch_1"}                     Idempotency-Key: …
    POST /refunds    {"amount": 1250, "currency": "EUR", "charge": "ch_1"}                     Idempotency-Key: …
    GET  /charges    the book: {"charges": [...]}; with ?key=… what was made under a key; captures and refunds alike
    POST /faults     {"faults": [{"kind": "lost", "times": 1}]} in the place of those that are set; GET tells them
    GET  /held       the requests that are held; with ?wait=5 it waits for one
    POST /release    lets them go on
    POST /forget     forgets all keys, as if they had expired
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from .barriers import Barriers
from .faults import Fault, Faults, Kind
from .ledger import Answer, Book, Entry, Keys, Refused

MONEY = {"/charges": "charges", "/captures": "captures", "/refunds": "refunds"}
STEPS = 20
"""Into how many pieces a dripping answer is cut."""


class FakeGateway:
    """
    The server, in this process: `with FakeGateway() as gateway: gateway.url`.

    `key_ttl` is for how many seconds it remembers a key; None: for ever. The same `seed`, the same chance.
    """

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        key_ttl: float | None = None,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.faults = Faults(faults, seed)
        self.keys = Keys(key_ttl)
        self.book = Book()
        self.barriers = Barriers()
        handler = type("Handler", (_Handler,), {"gateway": self})
        self._server = _Server((host, port), handler)

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def charges(self) -> list[Entry]:
        return self.book.entries("charges")

    def serve(self) -> None:
        """Serve until `close`, in this thread."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self.barriers.release()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> FakeGateway:
        threading.Thread(target=self.serve, name="fake gateway", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is what this server is for."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    daemon_threads = True
    request_queue_size = 128


class _Cut(Exception):
    """The connection ends here, without an answer."""


class _Handler(BaseHTTPRequestHandler):
    gateway: ClassVar[FakeGateway]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        if address.path in MONEY:
            self._answer(self._look_up(MONEY[address.path], query.get("key")))
        elif address.path == "/faults":
            self._answer(Answer(200, {"faults": self.gateway.faults.as_json()}))
        elif address.path == "/held":
            self._answer(Answer(200, {"held": self.gateway.barriers.held(float(query.get("wait", 0)))}))
        else:
            self._answer(Answer(404, {"error": "no-such-path"}))

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            if self.path in MONEY:
                self._make(MONEY[self.path], body)
            else:
                self._answer(self._order(body))
        except (KeyError, TypeError, ValueError) as exc:
            self._answer(Answer(400, {"error": f"invalid: {exc}"}))

    def _order(self, body: dict[str, Any]) -> Answer:
        match self.path:
            case "/faults":
                self.gateway.faults.set([Fault.from_json(fault) for fault in body["faults"]])
                return Answer(200, {"faults": self.gateway.faults.as_json()})
            case "/release":
                return Answer(200, {"released": self.gateway.barriers.release()})
            case "/forget":
                self.gateway.keys.forget()
                return Answer(200, {})
        return Answer(404, {"error": "no-such-path"})

    def _look_up(self, kind: str, key: str | None) -> Answer:
        if key is None:
            return Answer(200, {kind: self.gateway.book.entries(kind)})
        fault = self.gateway.faults.next(lookup=True)
        if fault and fault.kind is Kind.LOOKUP_DOWN:
            return Answer(503, {"error": "down"})
        if fault:
            time.sleep(fault.seconds)
        answer = Answer(200, {kind: self.gateway.book.entries(kind, key)})
        self.gateway.book.looked_up(key)
        return answer

    def _make(self, kind: str, asked: Entry) -> None:
        key = self.headers["Idempotency-Key"]
        if (
            not key
            or type(asked["amount"]) is not int
            or asked["amount"] <= 0
            or not isinstance(asked["currency"], str)
        ):
            raise ValueError("a key, an amount in minor units and a currency")
        fault = self.gateway.faults.next(lookup=False)
        try:
            answer = self._do(kind, key, asked, fault)
            if fault:
                answer = self._after(key, answer, fault)
            self._answer(answer, drip=fault.seconds if fault and fault.kind is Kind.DRIP else 0)
        except Refused as exc:
            self._answer(exc.answer)
        except _Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _do(self, kind: str, key: str, asked: Entry, fault: Fault | None) -> Answer:
        """What the key's first request was answered, or is answered now."""
        gateway = self.gateway
        known = gateway.keys.begin(key, asked)
        if known is not None:
            return known
        try:
            if fault:
                self._before(kind, key, asked, fault)
            extra = 1 if fault and fault.kind is Kind.WRONG_AMOUNT else 0
            answer = gateway.book.make(kind, key, asked, extra=extra)
        except (_Cut, Refused):
            gateway.keys.drop(key)
            raise
        gateway.keys.end(key, answer)
        return answer

    def _before(self, kind: str, key: str, asked: Entry, fault: Fault) -> None:
        match fault.kind:
            case Kind.LATENCY:
                time.sleep(fault.seconds)
            case Kind.CUT:
                raise _Cut
            case Kind.ERROR_BEFORE:
                raise Refused(500, "internal")
            case Kind.HOLD_BEFORE:
                self.gateway.barriers.hold(key, "before")
            case Kind.LATE:
                self.gateway.book.later(key, lambda: self._late(kind, key, asked))
                raise _Cut

    def _late(self, kind: str, key: str, asked: Entry) -> None:
        try:
            self._do(kind, key, asked, None)
        except Refused:
            # The key was used by others meanwhile, for another request.
            return

    def _after(self, key: str, answer: Answer, fault: Fault) -> Answer:
        match fault.kind:
            case Kind.LOST:
                raise _Cut
            case Kind.ERROR_AFTER:
                return Answer(500, {"error": "internal"})
            case Kind.HOLD_AFTER:
                self.gateway.barriers.hold(key, "after")
            case Kind.UNKNOWN_STATUS:
                return Answer(answer.status, {**answer.body, "status": "reviewing"})
        return answer

    def _answer(self, answer: Answer, *, drip: float = 0) -> None:
        content = json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self._write(content, drip)
        except OSError:
            # Whoever has asked does not wait any more.
            self.close_connection = True

    def _write(self, content: bytes, drip: float) -> None:
        size = max(1, len(content) // STEPS) if drip else len(content)
        for start in range(0, len(content), size):
            time.sleep(drip * size / len(content))
            self.wfile.write(content[start : start + size])
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """A server inside a test says nothing."""
