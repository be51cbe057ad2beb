"""A client of the tests' bank that speaks real HTTP, each request on a connection of its own."""

import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx

from tests.support.barriers import PATIENCE, Gate


class Client:
    """Sends requests, at once or in the background."""

    def __init__(self, port: int, parallel: int = 64) -> None:
        self.port = port
        self.made: list[httpx.Client] = []
        self.mine = threading.local()
        self.pool = ThreadPoolExecutor(parallel)

    @property
    def http(self) -> httpx.Client:
        """This thread's own: whoever uses a client tidies all its connections up, those that others read from as well."""
        if not hasattr(self.mine, "http"):
            self.mine.http = self._made()
        found: httpx.Client = self.mine.http
        return found

    def post(self, path: str, data: Any = None, **options: Any) -> httpx.Response:
        """POST a JSON body; see request() for the options."""
        return self.request("POST", path, json={"amount": 5} if data is None else data, **options)

    def start(self, path: str, data: Any = None, **options: Any) -> "Future[httpx.Response]":
        """POST in the background."""
        return self.pool.submit(self.post, path, data, **options)

    def insist(self, path: str, data: Any = None, *, within: float = 2.0, **options: Any) -> httpx.Response:
        """POST as a patient client does: again while the answer is 409 in-flight, for so many seconds."""
        deadline = time.monotonic() + within
        while True:
            answer = self.post(path, data, **options)
            if answer.status_code != 409 or not answer.json()["retryable"] or time.monotonic() > deadline:
                return answer
            time.sleep(0.05)

    def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        user: int | None = 1,
        at: Gate | None = None,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> httpx.Response:
        """Send a request as a user, under a key, to be held at a gate's points."""
        mine = {
            "Idempotency-Key": key,
            "Authorization": f"Test {user}" if user else None,
            "X-Test-At": at.header if at else None,
        }
        given = {name: value for name, value in mine.items() if value is not None}
        return self.http.request(method, path, headers={**given, **(headers or {})}, **body)

    def raw(self, *lines: bytes, body: bytes = b"") -> bytes:
        """Send header lines as they are, which a decent client would refuse, and return the whole answer."""
        head = [b"POST /plain/pay HTTP/1.1", b"Host: bank", b"Connection: close", *lines]
        head.append(b"Content-Length: %d" % len(body))
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(b"\r\n".join([*head, b"", body]))
            with connection.makefile("rb") as answer:
                return answer.read()

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        for made in self.made:
            made.close()

    def _made(self) -> httpx.Client:
        # A worker that is killed must not take a connection with it that the next request wanted to use.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        place = {"base_url": f"http://127.0.0.1:{self.port}", "trust_env": False, "verify": False}
        made = httpx.Client(**place, limits=limits, timeout=PATIENCE * 6)
        made.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.made.append(made)
        return made
