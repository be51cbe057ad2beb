"""
What every adapter of a payment gateway has to keep: a suite of pytest's to inherit from, fed with recorded answers.

A case is a JSON file: `source`, where the answer is documented; `call` and `input`; the `exchanges`, each the `request` as
far as it matters and the `answer`; and the `result`, null for a look-up that finds nothing. "{key}" stands for the key.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import parse_qsl, urlsplit

from ..gateways import Failed, Finds, Gateway, Result, Unknown
from ..gateways.sending import Client, new_client

KEY = "0b9f1c1e-6c1e-4f0e-9d3c-2f6f5a3f7a10"
APPROVED = "charge_approved"
"""The case that each adapter has to have: the others are made of it."""

Body = bytes | None
"""What a server answers; None: it cuts the connection."""
GARBAGE = (b"", b"null", b"[]", b"{}", b'"approved"', b"<html>OK</html>")


class GatewayContract:
    """
    Inherit from it in a class whose name begins with Test, and say where the cases are and how the adapter is made.

    `status`, `amount` and `currency` say where these are in the approved charge's answer: "/payment/status".
    """

    cases: ClassVar[Path]
    status: ClassVar[str]
    amount: ClassVar[str]
    currency: ClassVar[str]

    def gateway(self, url: str, client: Client) -> Gateway:
        """An adapter that reaches its gateway at `url`, over this client, with a timeout of at most a second."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", sorted(path.stem for path in type(self).cases.glob("*.json")))

    def test_a_recorded_answer_means_what_it_says(self, case: str) -> None:
        recorded = self._case(case)
        _expect(bool(recorded["source"]), True)
        with self._recorded(recorded) as (result, server):
            _expect(_as_json(result), recorded["result"])
            if result is not None:
                _expect(Result.from_json(json.loads(json.dumps(result.as_json()))), result)
            _expect(len(server.requests), len(recorded["exchanges"]))
            for exchange, request in zip(recorded["exchanges"], server.requests, strict=True):
                _expect_part(exchange["request"], request)

    def test_a_status_that_nobody_knows_is_unknown(self) -> None:
        for status in ("of_tomorrow", "", None, 7):
            _expect_unknown(self._changed(self.status, status))

    def test_another_amount_than_was_asked_for_is_unknown_with_the_reference(self) -> None:
        asked = _at(self._answer(), _steps(self.amount))
        for amount in _other_amounts(asked):
            result = self._changed(self.amount, amount)
            _expect_unknown(result)
            _expect(result.reference, self._case(APPROVED)["result"]["reference"])

    def test_an_amount_that_cannot_be_read_is_unknown(self) -> None:
        unreadable: tuple[object, ...] = (None, "", "NaN", [], {}, 12.5)
        for amount in unreadable:
            _expect_unknown(self._changed(self.amount, amount))

    def test_another_currency_than_was_asked_for_is_unknown(self) -> None:
        for currency in ("GBP", "???", "", None):
            _expect_unknown(self._changed(self.currency, currency))

    def test_an_answer_that_is_not_the_gateways_is_unknown(self) -> None:
        for status, body in [*((200, body) for body in GARBAGE), (400, b""), (404, GARBAGE[-1]), (422, GARBAGE[-1])]:
            _expect_unknown(self._answered(status, body)[0])

    def test_a_server_error_is_unknown_and_sends_nothing_again(self) -> None:
        for status in (500, 502, 503, 504):
            result, server = self._answered(status, b"{}")
            _expect_unknown(result)
            _expect(len(server.requests), len(self._case(APPROVED)["exchanges"]))

    def test_an_answer_that_is_lost_is_unknown_and_sends_nothing_again(self) -> None:
        result, server = self._answered(200, None)
        _expect_unknown(result)
        _expect(len(server.requests), len(self._case(APPROVED)["exchanges"]))

    def test_an_answer_that_drips_is_unknown_in_time(self) -> None:
        began = time.monotonic()
        result, _ = self._answered(200, json.dumps(self._answer()).encode(), drip=3)
        _expect_unknown(result)
        _expect(time.monotonic() - began < 2.5, True)

    def test_a_conflict_is_no_answer(self) -> None:
        _expect_unknown(self._answered(409, b"{}")[0])

    def test_what_the_gateway_has_not_looked_at_may_be_sent_again(self) -> None:
        for status in (401, 403, 429):
            result, _ = self._answered(status, b"{}")
            _expect((type(result), result.retryable), (Failed, True))

    def test_without_a_connection_nothing_was_done(self) -> None:
        result = self._charge(nobody())
        _expect((type(result), result.retryable), (Failed, True))

    def test_the_key_goes_with_the_charge(self) -> None:
        with self._recorded(self._case(APPROVED)) as (_, server):
            _expect(KEY in json.dumps(server.requests[-1]), True)

    def test_what_is_no_money_is_refused_before_anything_is_sent(self) -> None:
        for wrong in ({"amount": 0}, {"amount": -5}, {"amount": 1.5}, {"amount": True}, {"currency": "eur"}):
            with RecordedServer([]) as server:
                _expect(self._refuses(server.url, wrong), True)
                _expect(server.requests, [])

    def _case(self, name: str) -> dict[str, Any]:
        text = (type(self).cases / f"{name}.json").read_text().replace("{key}", KEY)
        case: dict[str, Any] = json.loads(text)
        return case

    def _answer(self) -> Any:
        return self._case(APPROVED)["exchanges"][-1]["answer"]["body"]

    def _charge(self, url: str, **other: Any) -> Result:
        with new_client() as client:
            given = {**self._case(APPROVED)["input"], **other}
            return self.gateway(url, client).charge(idempotency_key=KEY, **given)

    def _refuses(self, url: str, given: dict[str, Any]) -> bool:
        try:
            self._charge(url, **given)
        except ValueError:
            return True
        return False

    def _changed(self, pointer: str, value: object) -> Result:
        """The approved charge, answered with something else at one place."""
        body = deepcopy(self._answer())
        *above, last = _steps(pointer)
        _at(body, above)[last] = value
        return self._answered(200, json.dumps(body).encode())[0]

    def _answered(self, status: int, body: Body, *, drip: float = 0) -> tuple[Result, RecordedServer]:
        """The approved charge, its last answer replaced."""
        before = [_reply(exchange) for exchange in self._case(APPROVED)["exchanges"][:-1]]
        with RecordedServer([*before, (status, {}, body)], drip=drip) as server:
            return self._charge(server.url), server

    @contextmanager
    def _recorded(self, case: dict[str, Any]) -> Iterator[tuple[Result | None, RecordedServer]]:
        with RecordedServer([_reply(exchange) for exchange in case["exchanges"]]) as server, new_client() as client:
            call = getattr(self.gateway(server.url, client), case["call"])
            yield call(idempotency_key=KEY, **case["input"]), server


class FindContract(GatewayContract):
    """For an adapter that can be asked what became of a charge."""

    def test_a_look_up_that_fails_is_unknown(self) -> None:
        replies: list[tuple[int, Body]] = [(status, b"{}") for status in (401, 404, 429, 500, 503)]
        for status, body in [*replies, (200, None), *[(200, garbage) for garbage in GARBAGE]]:
            _expect_unknown(self._looked_up(status, body))
        _expect_unknown(self._find(nobody()))

    def _looked_up(self, status: int, body: Body) -> Result | None:
        exchanges = self._case("find_approved")["exchanges"]
        before = [_reply(exchange) for exchange in exchanges if exchange["request"]["path"].endswith("/token")]
        with RecordedServer([*before, (status, {}, body)]) as server:
            return self._find(server.url)

    def _find(self, url: str) -> Result | None:
        with new_client() as client:
            gateway = cast(Finds, self.gateway(url, client))
            return gateway.find(idempotency_key=KEY, **self._case("find_approved")["input"])


class RecordedServer:
    """A server on this machine that gives the answers it was given, one by one, and keeps what it was asked."""

    def __init__(self, replies: list[tuple[int, dict[str, str], Body]], *, drip: float = 0) -> None:
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.drip = drip
        """Seconds over which the last answer comes."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"recorded": self}))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> RecordedServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    recorded: ClassVar[RecordedServer]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = "urlencoded" in self.headers.get("Content-Type", "")
        self.recorded.requests.append(
            {
                "method": self.command,
                "path": address.path,
                "query": dict(parse_qsl(address.query)),
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": dict(parse_qsl(content)) if form else json.loads(content or "null"),
            }
        )
        self._answer(*self.recorded.replies.pop(0))

    do_POST = do_GET  # noqa: N815 - the names are the library's

    def _answer(self, status: int, headers: dict[str, str], body: Body) -> None:
        if body is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        drip = 0 if self.recorded.replies else self.recorded.drip
        size = 10 if drip else max(len(body), 1)
        with suppress(OSError):  # The adapter need not wait for the end.
            for start in range(0, len(body), size):
                time.sleep(drip * size / len(body))
                self.wfile.write(body[start : start + size])

    def log_message(self, *_: Any) -> None:
        """A server inside a test says nothing."""


def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _reply(exchange: dict[str, Any]) -> tuple[int, dict[str, str], Body]:
    answer = exchange["answer"]
    return answer["status"], answer.get("headers", {}), json.dumps(answer["body"]).encode()


def _steps(pointer: str) -> list[Any]:
    return [int(step) if step.isdigit() else step for step in pointer.split("/")[1:]]


def _at(body: Any, steps: list[Any]) -> Any:
    for step in steps:
        body = body[step]
    return body


def _other_amounts(asked: Any) -> list[Any]:
    return [f"1{asked}", asked[1:]] if isinstance(asked, str) else [asked + 10, asked - 10]


def _as_json(result: Result | None) -> dict[str, Any] | None:
    """Without what a case leaves out."""
    told = result.as_json() if result else None
    return told and {name: value for name, value in told.items() if value not in (None, False)}


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{found!r} is not {wanted!r}")


def _expect_part(wanted: Any, found: Any) -> None:
    """Each that is wanted has to be there; more may be."""
    if not isinstance(wanted, dict):
        _expect(found, wanted)
        return
    for name, value in wanted.items():
        _expect_part(value, found.get(name))


def _expect_unknown(result: Result | None) -> None:
    _expect(type(result), Unknown)
