"""Other systems beside the gateway: one lets subscribers in, one is a bank, and one has another rate each time."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from django_idempotency.gateways.fake.barriers import Barriers


class Partners:
    """What was put under which key, and how often anything was asked."""

    def __init__(self) -> None:
        self.book: dict[str, dict[str, Any]] = {}
        self.refuses = False
        self.is_down = False
        self.holds = False
        """Whether the next thing that is put is done, and its answer held back."""
        self.quotes = 0
        self.url = ""
        self.barriers = Barriers()

    def puts(self, kind: str) -> list[dict[str, Any]]:
        return [{**body, "key": key} for key, body in self.book.items() if body["kind"] == kind]

    def put(self, kind: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.is_down:
            return 503, {}
        known = self.book.setdefault(key, {"id": f"{kind}-{key}", "kind": kind, "refused": self.refuses, **body})
        if self.holds:
            self.holds = False
            self.barriers.hold(key, "after")
        return (409 if known["refused"] else 201), known

    def quote(self) -> tuple[int, dict[str, str]]:
        self.quotes += 1
        return 200, {"rate": f"162.3{self.quotes}5"}


class Handler(BaseHTTPRequestHandler):
    partners: ClassVar[Partners]
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, kind, key = self.path.split("/")
        self._answer(*self.partners.put(kind, key, body))

    def do_GET(self) -> None:
        if self.path.startswith("/quotes"):
            self._answer(*self.partners.quote())
            return
        known = self.partners.book.get(self.path.rpartition("/")[2])
        self._answer(*((404, {}) if known is None else (409 if known["refused"] else 200, known)))

    def _answer(self, status: int, data: dict[str, Any]) -> None:
        content = json.dumps(data).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            # Whoever has asked is dead.
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """A server inside a test says nothing."""


@contextmanager
def serving(partners: Partners) -> Iterator[None]:
    handler = type("Handler", (Handler,), {"partners": partners})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        partners.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield
        partners.barriers.release()
        server.shutdown()
