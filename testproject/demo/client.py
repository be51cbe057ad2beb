"""A client of the payments API that can lose answers, repeat itself and come in crowds."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, TypeVar
from urllib.parse import urlencode

TIMEOUT = 20.0
PAUSE = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, as often as it may be sent."""

    method: str
    path: str
    key: str | None = None
    data: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    """What a browser sends, instead of data."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> str | None:
        if self.form is not None:
            return urlencode(self.form)
        return None if self.data is None else json.dumps(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def retry_after(self) -> float | None:
        """In seconds, where the server asks for another attempt with the same key."""
        value = self.headers.get("retry-after")
        return None if value is None else float(value)

    @property
    def data(self) -> dict[str, Any]:
        """What is in the body; nothing where it is not a JSON object, as in a server's error page."""
        try:
            data = json.loads(self.body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    @property
    def code(self) -> str | None:
        """Which refusal this is, where it is one of django_idempotency's."""
        return self.data.get("code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    port: int
    token: str

    def send(self, call: Call) -> Answer:
        """The answer. Raises ConnectionError where the server dies instead."""
        connection = self._connect()
        try:
            return self._ask(connection, call)
        finally:
            connection.close()

    def send_and_hang_up(self, call: Call) -> None:
        """Sends all of the request and closes the socket without reading a byte."""
        connection = self._connect()
        try:
            self._say(connection, call)
        finally:
            connection.close()

    def send_together(self, call: Call, crowd: int) -> list[Answer]:
        """The answers to that many copies of a call, each on its own connection, all at once."""
        barrier = Barrier(crowd)

        def send() -> Answer:
            connection = self._connect()
            try:
                connection.connect()
                barrier.wait(TIMEOUT)
                return self._ask(connection, call)
            finally:
                connection.close()

        with ThreadPoolExecutor(crowd) as pool:
            return [future.result() for future in [pool.submit(send) for _ in range(crowd)]]

    def attempts(self, call: Call) -> Iterator[Answer]:
        """Every answer, until the server no longer asks for another attempt."""
        deadline = time.monotonic() + TIMEOUT
        answer = self.send(call)
        yield answer
        while answer.retry_after is not None and time.monotonic() < deadline:
            time.sleep(answer.retry_after)
            answer = self.send(call)
            yield answer

    def settle(self, call: Call) -> Answer:
        """The last of the attempts."""
        *_, answer = self.attempts(call)
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)

    def _say(self, connection: http.client.HTTPConnection, call: Call) -> None:
        headers = dict(call.headers)
        if self.token:
            headers["Authorization"] = f"Token {self.token}"
        if call.key is not None:
            headers["Idempotency-Key"] = f'"{call.key}"'
        if call.body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded" if call.form else "application/json"
        connection.request(call.method, call.path, body=call.body, headers=headers)

    def _ask(self, connection: http.client.HTTPConnection, call: Call) -> Answer:
        self._say(connection, call)
        response = connection.getresponse()
        return Answer(
            status=response.status,
            reason=response.reason,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read(),
        )


def poll(look: Callable[[], T], until: Callable[[T], bool], seconds: float = TIMEOUT) -> T:
    """The first look that satisfies; after the given time, the last one."""
    deadline = time.monotonic() + seconds
    seen = look()
    while not until(seen) and time.monotonic() < deadline:
        time.sleep(PAUSE)
        seen = look()
    return seen
