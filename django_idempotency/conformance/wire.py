"""Requests to the server under test, each over a connection of its own."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

PATIENCE = 30.0
"""Seconds for an answer; the slow route of a server takes much less."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None where it is something else."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.status} {self.body[:100].decode(errors='replace')}"


class Server:
    """A server with the fixture routes below a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"{url!r} is not the URL of a server.")
        self.https = parts.scheme == "https"
        self.netloc = parts.netloc
        self.prefix = parts.path.rstrip("/")

    def send(self, method: str, path: str, headers: Iterable[tuple[str, str]], body: str | None = None) -> Answer:
        """Send one request, its headers as they are, a repeated one included. Raises OSError."""
        kind = http.client.HTTPSConnection if self.https else http.client.HTTPConnection
        connection = kind(self.netloc, timeout=PATIENCE)
        content = body.encode() if body is not None else b""
        try:
            connection.putrequest(method, self.prefix + path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value.encode("latin-1"))
            if body is not None:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            return _read(connection.getresponse())
        except http.client.HTTPException as exc:
            raise ConnectionError(f"{method} {path} got no answer: {exc!r}") from exc
        finally:
            connection.close()

    def effects(self, key: str, principal: str) -> int:
        """How often requests of a principal under a key have taken effect. Raises LookupError where it is not said."""
        answer = self.send("GET", f"/effects?key={quote(key)}", [("Authorization", f"Bearer {principal}")])
        document = answer.json()
        if answer.status != 200 or not isinstance(document, dict) or type(document.get("effects")) is not int:
            raise LookupError(f'GET /effects must answer 200 {{"effects": <number>}}, not {answer}')
        return int(document["effects"])


def _read(response: http.client.HTTPResponse) -> Answer:
    names = {name.lower() for name in response.headers}
    headers = {name: ", ".join(response.headers.get_all(name, [])) for name in names}
    return Answer(response.status, headers, response.read())
