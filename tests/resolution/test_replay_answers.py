"""A stored answer: shown as the client would get it, or posted to the address that its request names, and nowhere else."""

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.models import IdempotencyRecord
from django_idempotency.resolution import NotFound, NotSent, Unreadable, WrongState, callbacks
from tests.resolution.people import events
from tests.resolution.retries import FERNET, SAID, last_event, post
from tests.resolution.shop import TILL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]


def paid(buyer, data=None):
    assert post(buyer, data=data).status_code == 201
    return IdempotencyRecord.objects.get().pk


def stored_answer(found):
    return resolution.stored_answer(found, **SAID)


class TestStored:
    def test_it_is_what_the_client_would_get(self, buyer):
        found = paid(buyer)
        answer, retry = stored_answer(found), post(buyer)
        assert (answer.status, answer.body) == (201, retry.content)
        assert answer.headers == tuple((name, value) for name, value in retry.items() if name in dict(answer.headers))
        assert dict(answer.headers)["Idempotent-Replayed"] == "true"
        assert (answer.ran, answer.kept) == (False, True)

    def test_that_it_was_shown_is_in_the_audit(self, buyer):
        stored_answer(paid(buyer))
        assert events("act", "actor", "reason") == [("show-answer", "ada", "ticket 812")]

    def test_it_is_decrypted(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"ENCRYPTION_KEYS": [FERNET]}}
        found = paid(buyer)
        assert json.loads(stored_answer(found).body)["payment"] == 5
        settings.IDEMPOTENCY = {"default": {}}
        with pytest.raises(Unreadable):
            stored_answer(found)

    def test_a_body_that_was_not_kept_is_none(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"MAX_RESPONSE": 5}}
        assert stored_answer(paid(buyer)).body is None

    def test_one_that_has_expired_is_no_longer_shown(self, buyer):
        found = paid(buyer)
        IdempotencyRecord.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        with pytest.raises(WrongState, match="no longer kept"):
            stored_answer(found)

    def test_there_is_none_before_the_end(self, buyer):
        found = paid(buyer)
        IdempotencyRecord.objects.update(state="processing")
        with pytest.raises(WrongState, match="has no answer"):
            stored_answer(found)
        IdempotencyRecord.objects.all().delete()
        with pytest.raises(NotFound):
            stored_answer(found)


class Listener(BaseHTTPRequestHandler):
    """Takes what is posted, and answers with the status in the path."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Location", "https://localhost/elsewhere")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    asked = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *asked]
    subprocess.run(made, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def listener(certificate, monkeypatch) -> Iterator[Any]:
    """A server of the client's, for once in our own network."""
    server: Any = HTTPServer(("127.0.0.1", 0), Listener)
    server.heard = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class TestPosted:
    def posted(self, buyer, settings, url, **choices):
        settings.IDEMPOTENCY = {"default": {"CALLBACK": "/callback", **choices}}
        found = paid(buyer, {"amount": 5, "callback": url})
        TILL.seen.clear()
        return resolution.post_answer(found, **SAID)

    @pytest.fixture
    def at_home(self, monkeypatch):
        monkeypatch.setattr(callbacks, "is_public", lambda address: True)

    def test_it_goes_to_the_address_that_the_request_names(self, buyer, settings, listener, at_home):
        host = f"localhost:{listener.server_port}"
        assert self.posted(buyer, settings, f"https://{host}/done/204", CALLBACK_HOSTS=[host]) == 204
        ((path, headers, body),) = listener.heard
        assert (path, json.loads(body)["payment"]) == ("/done/204", 5)
        assert (headers["Idempotency-Key"], headers["Idempotent-Status"], headers["Host"]) == ('"k"', "201", host)
        assert events() == ["post-answer", "post-answer-ended"]
        assert last_event() == {"status": 204}
        assert TILL.seen == []

    def test_one_whose_body_was_not_kept_is_not_posted_as_if_it_had_none(self, buyer, settings, listener, at_home):
        host = f"localhost:{listener.server_port}"
        with pytest.raises(WrongState, match="body was not kept"):
            self.posted(buyer, settings, f"https://{host}/done/204", CALLBACK_HOSTS=[host], MAX_RESPONSE=5)
        assert (listener.heard, events()) == ([], [])

    def test_a_redirect_is_not_followed(self, buyer, settings, listener, at_home):
        host = f"localhost:{listener.server_port}"
        assert self.posted(buyer, settings, f"https://{host}/307", CALLBACK_HOSTS=[host]) == 307
        assert len(listener.heard) == 1

    def test_a_certificate_of_another_name_is_refused(self, buyer, settings, listener, at_home):
        host = f"127.0.0.1:{listener.server_port}"
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            self.posted(buyer, settings, f"https://{host}/204", CALLBACK_HOSTS=[host])
        assert listener.heard == []
        assert last_event() == {"error": "NotSent"}

    def test_our_own_network_is_refused(self, buyer, settings, listener):
        host = f"localhost:{listener.server_port}"
        with pytest.raises(WrongState, match="private network"):
            self.posted(buyer, settings, f"https://{host}/204", CALLBACK_HOSTS=[host])
        assert (listener.heard, events()) == ([], [])

    def test_a_callable_says_where(self, buyer, settings, listener, at_home):
        host = f"localhost:{listener.server_port}"
        said = {"CALLBACK": lambda request: json.loads(request.body)["callback"] + "/200", "CALLBACK_HOSTS": [host]}
        assert self.posted(buyer, settings, f"https://{host}", **said) == 200

    def test_a_request_that_names_none_is_refused(self, buyer, settings):
        settings.IDEMPOTENCY = {"default": {"CALLBACK": "/callback", "CALLBACK_HOSTS": ["shop.example"]}}
        found = paid(buyer)
        with pytest.raises(WrongState, match="names no address"):
            resolution.post_answer(found, **SAID)

    def test_what_is_connected_to_is_what_was_looked_at(self, monkeypatch, listener):
        """A name that leads elsewhere the second time it is asked for."""
        where = callbacks.Target(host="localhost", port=listener.server_port, path="/200", address="127.0.0.1")
        monkeypatch.setattr(socket, "getaddrinfo", only_numbers(socket.getaddrinfo))
        assert callbacks.post(where, b"{}", {}) == 200


def only_numbers(usual):
    def find(host, *rest, **more):
        assert host == "127.0.0.1", "a name is asked for once"
        return usual(host, *rest, **more)

    return find


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "https://other.example/",
        "https://shop.example:8443/",
        "https://shop.example@other.example/",
        "https://ada:secret@shop.example/",
        "https://shop.example.other.example/",
        "https://shop.example:x/",
        "//shop.example/",
        "file:///etc/passwd",
        "[masked]",
        "",
        None,
        5,
    ],
)
def test_only_hosts_on_the_list_over_tls(url, monkeypatch):
    monkeypatch.setattr(callbacks, "is_public", lambda address: True)
    with pytest.raises(WrongState, match="names no address"):
        callbacks.target(url, ["shop.example"])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("9.9.9.9", True),
        ("2620:fe::fe", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::1", False),
    ],
)
def test_only_addresses_of_the_internet(address, public):
    assert callbacks.is_public(address) is public


def test_a_host_that_sends_something_now_and_then_is_not_waited_for_any_longer(monkeypatch):
    monkeypatch.setattr(callbacks, "LONGEST", 0.3)
    server, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip():
        client, _ = server.accept()
        client.settimeout(callbacks.TIMEOUT)
        with client, contextlib.suppress(OSError):
            # Ends when it is hung up on, which is what is promised; else after half a minute.
            for _ in range(600):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if ended.wait(0.05):
                    return

    def connect(connection):
        connection.sock = socket.create_connection(server.getsockname(), callbacks.TIMEOUT)

    monkeypatch.setattr(callbacks._Pinned, "connect", connect)
    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    began = time.monotonic()
    with pytest.raises(NotSent):
        callbacks.post(callbacks.Target(host="h", port=443, path="/", address="127.0.0.1"), b"{}", {})
    assert time.monotonic() - began < callbacks.TIMEOUT
    ended.set()
    dripping.join()
    server.close()
