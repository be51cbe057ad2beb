"""One request to a gateway, and what is certain when it goes wrong. The only module that knows httpx."""

from __future__ import annotations

import contextvars
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import httpx

from .results import Failed, Result, Unknown

Client = httpx.Client

LARGEST = 2_000_000
"""Bytes of an answer that are read; a longer one is not a gateway's."""


class NotSent(Exception):
    """The gateway has seen nothing of the request."""


class Lost(Exception):
    """The request may have arrived; what became of it is not known."""


# In this order: the first that fits says it.
MEANING: tuple[tuple[type[Exception], type[Exception], str], ...] = (
    (httpx.ConnectTimeout, NotSent, "no connection in time"),
    (httpx.ConnectError, NotSent, "no connection"),
    (httpx.PoolTimeout, NotSent, "no free connection in time"),
    (httpx.UnsupportedProtocol, NotSent, "the address is not one of HTTP"),
    (httpx.TimeoutException, Lost, "no answer in time"),
    (httpx.DecodingError, Lost, "the answer cannot be read"),
    (httpx.HTTPError, Lost, "the connection was lost"),
    (httpx.StreamError, Lost, "the connection was lost"),
    (OSError, Lost, "the connection was lost"),
)
RETRYABLE = frozenset({401, 403, 429})
"""Refused before the request was looked at: too many, or not from someone who may."""
REFUSED = frozenset({400, 404, 405, 406, 410, 413, 414, 415, 422, 431})
"""Looked at and refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""
    body: Any
    """What its JSON stands for; None where it is none."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


Said = TypeVar("Said", bound=Result | None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Where one gateway is reached, and as whom."""

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    """Seconds for one call in all: for its name, its connection, every byte there and every byte back."""
    client: Client = field(repr=False)

    @classmethod
    def to(cls, base_url: str, *, headers: Mapping[str, str], timeout: float, client: Client | None) -> Wire:
        """A wire over the given client, which may be shared by threads, or over one of its own."""
        return cls(base_url=base_url, headers=headers, timeout=timeout, client=client or new_client())

    def deadline(self) -> float:
        """When a call that starts now has to be over, on the monotonic clock: for calls of more than one request."""
        return time.monotonic() + self.timeout

    def send(self, method: str, path: str, *, deadline: float | None = None, **request: Any) -> Answer:
        """
        Send one request, once. `request` is what httpx takes: headers, json, data, params.

        Raises NotSent or Lost, at the latest when its time is up, even if the answer drips.
        """
        limit = _Limit(self.deadline() if deadline is None else deadline)
        if limit.left <= 0:
            raise NotSent("no time left")
        headers = {**self.headers, **request.pop("headers", {})}
        prepared = self.client.build_request(
            method,
            self.base_url.rstrip("/") + path,
            headers=headers,
            timeout=limit.left,
            extensions={"trace": limit.trace},
            **request,
        )
        with translated():
            return _Call(self.client, prepared, limit).result()


def new_client() -> Client:
    """A client of httpx's. The certificates, which take longest, are read once in a process."""
    return Client(verify=_certificates())


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@contextmanager
def translated() -> Iterator[None]:
    """Raise what httpx raises as NotSent or Lost, by the table."""
    try:
        yield
    except tuple(foreign for foreign, _, _ in MEANING) as exc:
        ours, reason = next((ours, reason) for foreign, ours, reason in MEANING if isinstance(exc, foreign))
        raise ours(reason) from exc


def told(send: Callable[[], Answer], read: Callable[[Answer], Result]) -> Result:
    """What a call has done. Nothing that goes wrong on the way, or in the reading, is taken for an answer."""
    try:
        answer = send()
    except NotSent as exc:
        return Failed(reason=str(exc), retryable=True)
    except Lost as exc:
        return Unknown(reason=str(exc))
    return _read(answer, read)


def found(send: Callable[[], Answer], read: Callable[[Answer], Result | None]) -> Result | None:
    """What a look-up says of an earlier call: None where there is no record of one, Unknown where it cannot tell."""
    try:
        answer = send()
    except (NotSent, Lost) as exc:
        return Unknown(reason=f"looked up: {exc}")
    if not answer.ok:
        return Unknown(reason=f"looked up: HTTP {answer.status}")
    return _read(answer, read)


def refused(answer: Answer, reason: str | None = None) -> Result:
    """What a status says that is not one of success, where the gateway's own words do not say more."""
    said = f"HTTP {answer.status}" + (f": {reason}" if reason else "")
    if answer.status in RETRYABLE:
        return Failed(reason=said, retryable=True)
    # Without the gateway's own words, something on the way may have answered, and the request gone on.
    sure = answer.status in REFUSED and isinstance(answer.body, dict)
    return Failed(reason=said) if sure else Unknown(reason=said)


def _read(answer: Answer, read: Callable[[Answer], Said]) -> Said | Unknown:
    try:
        return read(answer)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        return Unknown(reason=f"HTTP {answer.status}: the answer cannot be read ({type(exc).__name__})")


class _Limit:
    """When a call has to be over, and whether any of it can have been sent by then."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._lock = threading.Lock()
        self._traced = self._sent = self._over = False

    @property
    def left(self) -> float:
        return self._deadline - time.monotonic()

    def trace(self, event: str, _: Any) -> None:
        """What httpx tells of its steps. A connection that comes too late must not carry a call that was given up."""
        with self._lock:
            self._traced = True
            if not event.endswith("send_request_headers.started"):
                return
            if self._over:
                raise httpx.ConnectTimeout("no connection in time")
            self._sent = True

    def end(self) -> httpx.TimeoutException:
        """End it: from here on nothing is sent. A transport that tells of no steps may have sent everything."""
        with self._lock:
            self._over = True
            unsent = self._traced and not self._sent
        return httpx.ConnectTimeout("no connection in time") if unsent else httpx.ReadTimeout("no answer in time")


class _Call:
    """
    A request in a thread of its own, which can be left alone when its time is up.

    httpx limits each step, not the whole; and nothing else limits looking up a host's name.
    """

    def __init__(self, client: Client, request: httpx.Request, limit: _Limit) -> None:
        self._client = client
        self._request = request
        self._limit = limit
        self._answer: Answer | None = None
        self._error: BaseException | None = None

    def result(self) -> Answer:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run,), name="gateway call", daemon=True)
        thread.start()
        thread.join(max(self._limit.left, 0))
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise self._limit.end()
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as exc:  # noqa: BLE001 - raised again where the call is waited for
            self._error = exc

    def _ask(self) -> Answer:
        response = self._client.send(self._request, stream=True, follow_redirects=False)
        try:
            content = self._content(response)
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=headers, body=_json(response, content))

    def _content(self, response: httpx.Response) -> bytes:
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if self._limit.left <= 0:
                raise httpx.ReadTimeout("no answer in time")
            if len(content) > LARGEST:
                raise httpx.DecodingError("the answer is too long")
        return content


def _json(response: httpx.Response, content: bytes) -> Any:
    try:
        return httpx.Response(response.status_code, content=content).json()
    except ValueError:
        return None
