"""A server that mounts the fixture routes and runs every request it gets."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

EFFECTS: Counter[tuple[str, str]] = Counter()
STATUSES = {"/pay": 201, "/decline": 402, "/invalid": 201, "/slow": 201, "/crash": 500}


class RunsEverything(BaseHTTPRequestHandler):
    """Looks at no key, except to count."""

    def do_GET(self) -> None:
        key = parse_qs(urlsplit(self.path).query)["key"][0]
        self.answer(200, {"effects": EFFECTS[key, self.headers["Authorization"]]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        route = urlsplit(self.path).path
        if route not in STATUSES:
            self.answer(404, {})
            return
        EFFECTS[self.headers.get("Idempotency-Key", ""), self.headers["Authorization"]] += 1
        status = 400 if route == "/invalid" and body["amount"] == "five" else STATUSES[route]
        self.answer(status, {"id": str(uuid.uuid4()), "amount": body["amount"]})

    def answer(self, status: int, document: dict[str, object]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Crowded(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a port of its own, and give the URL."""
    with Crowded(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
