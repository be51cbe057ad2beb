"""One request, and what is certain when it goes wrong."""

import socket
import threading
import time

import httpx
import pytest

from django_idempotency.gateways import Failed, Unknown
from django_idempotency.gateways.fake import Fault, Kind
from django_idempotency.gateways.sending import (
    MEANING,
    Answer,
    Client,
    Lost,
    NotSent,
    Wire,
    refused,
    told,
    translated,
)
from django_idempotency.testing.gateways import RecordedServer, nobody


def wire(url, client, timeout=0.5):
    return Wire.to(url, headers={"Authorization": "Bearer secret"}, timeout=timeout, client=client)


def answer(status, **headers):
    return Answer(status=status, headers=headers, body={})


class TestTable:
    @pytest.mark.parametrize(
        ("raised", "meant"),
        [
            (httpx.ConnectError("x"), NotSent),
            (httpx.ConnectTimeout("x"), NotSent),
            (httpx.PoolTimeout("x"), NotSent),
            (httpx.ReadTimeout("x"), Lost),
            (httpx.WriteTimeout("x"), Lost),
            (httpx.WriteError("x"), Lost),
            (httpx.ReadError("x"), Lost),
            (httpx.RemoteProtocolError("x"), Lost),
            (httpx.LocalProtocolError("x"), Lost),
            (httpx.ProxyError("x"), Lost),
            (httpx.DecodingError("x"), Lost),
            (ConnectionResetError("x"), Lost),
        ],
        ids=lambda value: getattr(value, "__name__", type(value).__name__),
    )
    def test_only_what_surely_was_not_sent_counts_as_not_sent(self, raised, meant):
        with pytest.raises(meant) as caught, translated():
            raise raised
        assert caught.value.__cause__ is raised

    def test_a_fault_of_ours_is_not_taken_for_the_gateways(self):
        with pytest.raises(RuntimeError), translated():
            raise RuntimeError

    def test_every_error_of_a_request_has_a_meaning(self):
        named = tuple(foreign for foreign, _, _ in MEANING)
        errors = [error for error in vars(httpx).values() if isinstance(error, type) and issubclass(error, Exception)]
        ours = {httpx.InvalidURL, httpx.CookieConflict}
        assert [error for error in errors if not issubclass(error, named) and error not in ours] == []


class TestStatuses:
    @pytest.mark.parametrize("status", [401, 403, 429])
    def test_what_was_not_looked_at_may_be_sent_again(self, status):
        assert refused(answer(status)) == Failed(reason=f"HTTP {status}", retryable=True)

    @pytest.mark.parametrize("status", [400, 404, 422])
    def test_what_was_looked_at_and_refused_has_failed(self, status):
        assert refused(answer(status), "code") == Failed(reason=f"HTTP {status}: code")

    def test_a_refusal_that_is_not_the_gateways_is_unknown(self):
        page = Answer(status=404, headers={}, body=None)
        assert refused(page) == Unknown(reason="HTTP 404")

    @pytest.mark.parametrize("status", [100, 302, 402, 408, 409, 424, 499, 500, 502, 503, 504, 599])
    def test_anything_else_is_unknown(self, status):
        assert type(refused(answer(status))) is Unknown


class TestTime:
    def test_a_call_is_over_in_time_when_the_body_drips(self, fake, client):
        fake.faults.set([Fault(kind=Kind.DRIP, seconds=30)])
        began = time.monotonic()
        with pytest.raises(Lost, match="no answer in time"):
            wire(fake.url, client).send("POST", "/charges", **body("drip"))
        assert time.monotonic() - began < 2

    def test_a_call_is_over_in_time_when_the_headers_drip(self, client):
        with dripping_headers() as url:
            began = time.monotonic()
            with pytest.raises(Lost, match="no answer in time"):
                wire(url, client).send("GET", "/")
            assert time.monotonic() - began < 2

    def test_several_requests_share_one_deadline(self, fake, client):
        line = wire(fake.url, client)
        deadline = line.deadline()
        fake.faults.set([Fault(kind=Kind.LOOKUP_LATENCY, seconds=0.3)])
        line.send("GET", "/charges", deadline=deadline, params={"key": "a"})
        with pytest.raises(Lost):
            line.send("GET", "/charges", deadline=deadline, params={"key": "a"})
        with pytest.raises(NotSent, match="no time left"):
            line.send("GET", "/charges", deadline=deadline, params={"key": "a"})

    def test_a_name_that_is_not_found_in_time_means_that_nothing_was_sent(self, client, monkeypatch):
        found, asked = threading.Event(), threading.Event()
        with RecordedServer([(200, {}, b"{}")]) as server:
            slow = slow_names(found, asked)
            monkeypatch.setattr(socket, "getaddrinfo", slow)
            with pytest.raises(NotSent, match="no connection in time"):
                wire(server.url, client).send("GET", "/")
            assert asked.is_set()
            found.set()
            late = next(thread for thread in threading.enumerate() if thread.name == "gateway call")
            late.join(5)
            assert server.requests == []

    def test_a_transport_that_tells_of_no_steps_may_have_sent_it(self):
        release = threading.Event()

        def stuck(_):
            release.wait(5)
            return httpx.Response(200, json={})

        with Client(transport=httpx.MockTransport(stuck)) as client, pytest.raises(Lost):
            wire("http://gateway.test", client).send("GET", "/")
        release.set()


class TestRequests:
    def test_a_redirect_is_not_followed(self, client):
        with RecordedServer([(307, {"Location": "/elsewhere"}, b"{}")]) as server:
            result = told(lambda: wire(server.url, client).send("POST", "/charges", json={}), refused)
            assert (type(result), len(server.requests)) == (Unknown, 1)

    def test_an_answer_without_end_is_not_read(self, client):
        with RecordedServer([(200, {}, b" " * 3_000_000)]) as server, pytest.raises(Lost, match="cannot be read"):
            wire(server.url, client, timeout=30).send("GET", "/")

    def test_without_a_connection_nothing_was_sent(self, client):
        with pytest.raises(NotSent):
            wire(nobody(), client).send("GET", "/")

    def test_credentials_are_not_shown(self, client):
        assert "secret" not in repr(wire("http://gateway.test", client))


def body(key):
    return {"headers": {"Idempotency-Key": key}, "json": {"amount": 100, "currency": "EUR"}}


def slow_names(found, asked):
    real = socket.getaddrinfo

    def slow(*args, **kwargs):
        asked.set()
        found.wait(5)
        return real(*args, **kwargs)

    return slow


class dripping_headers:  # noqa: N801 - reads as a block
    """A server whose headers do not end for some seconds."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.drip, daemon=True)
        self.thread.start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def drip(self):
        connection, _ = self.socket.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(80):
                if self.over.wait(0.05):
                    return
                connection.sendall(b"X-More: 1\r\n")

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(5)
        self.socket.close()
