"""Requests through Django's whole handler, without a socket and without the test client's extras."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

BODY = json.dumps({"amount": "129.90", "currency": "EUR"}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    milliseconds: float


class Client:
    """Posts the payment to one path through a handler with its own middleware."""

    def __init__(self, path: str, middleware: Sequence[str] = ()) -> None:
        self.path = path
        with override_settings(MIDDLEWARE=list(middleware)):
            self.handler = WSGIHandler()

    def post(self, key: str) -> Answer:
        environ = self.environ(key)
        started = perf_counter_ns()
        response = self.handler(environ, ignore_start)
        body = b"".join(response)
        response.close()
        elapsed = perf_counter_ns() - started
        return Answer(status=response.status_code, body=body, milliseconds=elapsed / 1e6)

    def environ(self, key: str) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": "",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(BODY)),
            "HTTP_ACCEPT": "application/json",
            "HTTP_IDEMPOTENCY_KEY": key,
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(BODY),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }


def ignore_start(status: str, headers: list[tuple[str, str]]) -> None:
    """A server would write the head here."""
