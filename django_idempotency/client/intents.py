"""What a caller wants, in words that stay the same: from them comes the key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from django.conf import settings

from ..core import fingerprints, keys
from ..stored_requests import stored_path
from .servers import Server
from .stores import Intent

EXTENSION = "intent"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def intent(*parts: str | int | UUID) -> dict[str, Any]:
    """
    What a request is for, to be passed as its `extensions`: `intent("order", 42, "capture")`.

    The same parts give the same key, today and in a year; `42` and `"42"` are the same part. Raises ValueError for fewer
    than two parts and for an empty one, TypeError for anything but text, whole numbers and UUIDs: an amount or a time
    belongs into the request, for with it in the intent each change of it would be a second payment.
    """
    if len(parts) < 2:
        raise ValueError("An intent has at least two parts: what it is about, such as an order's id, and what for.")
    return {EXTENSION: json.dumps([_text(part) for part in parts], separators=(",", ":"))}


def _text(part: object) -> str:
    if isinstance(part, bool) or not isinstance(part, str | int | UUID):
        raise TypeError(f"A part of an intent is a text, a whole number or a UUID, not {type(part).__name__}.")
    if part == "":
        raise ValueError("A part of an intent is empty: everything whose id is missing would have the same key.")
    return str(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with an intent, ready to be sent any number of times."""

    request: httpx.Request
    key: str
    intent: Intent
    fingerprints: tuple[bytes, ...]
    """The first is stored; the others are what earlier secrets would have given."""

    def same(self, stored: Intent) -> bool:
        """Whether the stored parameters are these."""
        return fingerprints.same(stored.fingerprint, self.fingerprints)


def asked(request: httpx.Request, server: Server, *, namespace: str, now: datetime) -> Asked | None:
    """
    What a request asks for; None without an intent and for a safe method, which need no key.

    Raises TypeError for an intent that `intent()` has not made, ValueError for a request that cannot be sent under it.
    """
    stated = request.extensions.get(EXTENSION)
    if stated is None or request.method in SAFE_METHODS:
        return None
    if not isinstance(stated, str):
        raise TypeError('Pass what intent() returns: extensions=intent("order", 42, "capture").')
    _refuse_unsuitable(request, server)
    candidates = _fingerprints(request)
    path = request.url.raw_path.decode("ascii").partition("?")[0]
    # No secret goes into the key: changed, it would give the same intent another key and another effect.
    found = Intent(
        id=keys.record_id("client", namespace, stated),
        namespace=namespace,
        intent=stated,
        method=request.method,
        url=server.origin.rstrip("/") + stored_path(path),
        fingerprint=candidates[0],
        first_sent_at=now,
    )
    return Asked(request=request, key=str(found.id), intent=found, fingerprints=candidates)


def _refuse_unsuitable(request: httpx.Request, server: Server) -> None:
    streamed = not isinstance(request.stream, httpx.ByteStream)
    if not server.serves(request.url):
        raise ValueError(f"An intent for {request.url.host} cannot be sent: this client's server is {server.origin}.")
    if server.key_header in request.headers:
        raise ValueError(f"The key comes from the intent; leave the header {server.key_header} out.")
    if streamed:
        raise ValueError("A body that is streamed can be sent only once: pass it as bytes, as data or as json.")


def _fingerprints(request: httpx.Request) -> tuple[bytes, ...]:
    url = request.url
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    place = (request.method.encode(), url.scheme.encode(), url.netloc, url.raw_path, media.encode())
    parts = [b"client", *place, _body(media, request.content)]
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return tuple(fingerprints.fingerprint(secret, parts) for secret in secrets)


def _body(media: str, content: bytes) -> bytes:
    """JSON as it is meant, so that a release may write its members in another order; anything else as it is."""
    if media != "application/json" and not media.endswith("+json"):
        return content
    try:
        return fingerprints.canonical_json(content)
    except ValueError:
        return content
