"""Servers on loopback that count their effects, know keys or not, and lose what a test tells them to lose."""

import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx


class Seen(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str | None:
        return self.headers.get("Idempotency-Key")


class Given(NamedTuple):
    """An answer. As a fault, it is given in front of the service, which never hears of the request."""

    status: int
    document: Any = None
    headers: Mapping[str, str] = {}
    media: str = "application/json"


def problem(status: int, code: str, *, retryable: bool, **headers: str) -> Given:
    """Return a problem document of ours."""
    document = {"code": code, "retryable": retryable}
    return Given(status, document, {name.replace("_", "-"): value for name, value in headers.items()}, PROBLEM)


PROBLEM = "application/problem+json"


class Keyless:
    """Knows nothing of keys: each request that comes through has an effect."""

    def __init__(self) -> None:
        self.effects: list[bytes] = []
        self.lock = threading.Lock()

    def __call__(self, seen: Seen) -> Given:
        with self.lock:
            self.effects.append(seen.body)
            return Given(201, {"number": len(self.effects)})


class Stripe(Keyless):
    """Stripe's rules: the first answer to a key is stored, a 500 as well, and other parameters get a 400."""

    def __init__(self, first: Given | None = None) -> None:
        super().__init__()
        self.first = first
        self.stored: dict[str, tuple[bytes, Given]] = {}

    def __call__(self, seen: Seen) -> Given:
        key = seen.key or ""
        if key in self.stored:
            body, given = self.stored[key]
            if body != seen.body:
                return Given(400, {"error": {"type": "idempotency_error"}})
            return given._replace(headers={**given.headers, "Idempotent-Replayed": "true"})
        given = super().__call__(seen)
        self.stored[key] = (seen.body, self.first or given)
        return self.stored[key][1]


class Forward:
    """Passes on to a server that listens on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, seen: Seen) -> Given:
        url = f"http://127.0.0.1:{self.port}{seen.path}"
        with httpx.Client(trust_env=False, timeout=20) as client:
            answer = client.request(seen.method, url, content=seen.body, headers=dict(seen.headers))
        passed = {
            name: answer.headers[name] for name in ("Retry-After", "Idempotent-Replayed") if name in answer.headers
        }
        return Given(answer.status_code, answer.json(), passed, answer.headers["Content-Type"])


class Loopback(ThreadingHTTPServer):
    """
    A service behind a network that fails as `faults` say, one for each request: `cut before` its effect or `cut after` it,
    `half` an answer, `silence` after the effect, an answer given in front of it, or None.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, service: Callable[[Seen], Given], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.service = service
        self.faults: deque[Any] = deque()
        self.seen: list[Seen] = []
        self.errors: list[BaseException | None] = []
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def end(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self.thread.join()
        assert self.errors == []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep a fault of the test's own; a client that has hung up is none."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    server: Loopback
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = Seen(self.command, self.path, dict(self.headers), body)
        self.server.seen.append(seen)
        fault = self.server.faults.popleft() if self.server.faults else None
        if fault == "cut before":
            return self.cut()
        given = fault if isinstance(fault, Given) else self.server.service(seen)
        if fault == "silence":
            self.server.closing.wait(20)
        if fault in ("cut after", "silence"):
            return self.cut()
        return self.give(given, half=fault == "half")

    def do_GET(self) -> None:
        self.do_POST()

    def give(self, given: Given, *, half: bool) -> None:
        body = json.dumps(given.document).encode()
        self.send_response(given.status)
        headers = {
            "Content-Type": given.media,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **given.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = True

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *args: Any) -> None:
        pass
