"""What an answer says about the request, and about sending it again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import httpx

from .servers import Server

SECONDS = re.compile(r"[0-9]{1,9}")
# Given by what stands in front of the view, and so of the keys: after an earlier attempt that may have taken effect, they
# say nothing about it. 408 is not final for the same reason.
IN_FRONT_OF_KEYS = frozenset({401, 403, 404, 405, 406, 407, 408, 413, 415, 421, 425, 429, 431, 451})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response that has come whole."""

    response: httpx.Response
    content: bytes
    """The bytes of its body as they came."""
    readable: httpx.Response
    """The same, decoded."""
    server: Server

    def whole(self) -> httpx.Response:
        """The response for the caller, with all of its body at hand, still to be read."""
        extensions, stream = self.response.extensions, httpx.ByteStream(self.content)
        return httpx.Response(self.status, headers=self.response.headers, stream=stream, extensions=extensions)

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def code(self) -> str:
        """The code of a problem document of ours; empty in any other answer."""
        return str(self._problem.get("code", ""))

    @property
    def key_reused(self) -> bool:
        """Whether the server knows the key with other parameters."""
        error = self._document.get("error")
        stripes = self.status == 400 and isinstance(error, dict) and error.get("type") == "idempotency_error"
        return self.code == "key-reused" or stripes

    @property
    def lost(self) -> bool:
        """Whether the server will not say any more what became of the key, however often it is asked."""
        return self.code in {"outcome-unknown", "key-expired"}

    @property
    def again(self) -> bool:
        """Whether the same request can help: what the answer says goes before what its status suggests."""
        advice = str(self.response.headers.get("Stripe-Should-Retry", "")).lower()
        if advice in {"true", "false"}:
            return advice == "true"
        retryable = self._problem.get("retryable")
        if isinstance(retryable, bool):
            return retryable
        return self.status in self.server.retried or (self.status == 409 and "Retry-After" in self.response.headers)

    @property
    def doubtful(self) -> bool:
        """Whether the request may have taken effect, or still will."""
        return self.status >= 500 or self.status == 408 or (self.status == 409 and self.again)

    @property
    def telling(self) -> bool:
        """Whether it is the outcome, even if an earlier attempt may have taken effect."""
        if self.doubtful:
            return False
        return self.status not in IN_FRONT_OF_KEYS or "Idempotent-Replayed" in self.response.headers

    def seconds_to_wait(self, now: datetime) -> float:
        """What Retry-After asks for; 0 without it."""
        value = self.response.headers.get("Retry-After", "").strip()
        if SECONDS.fullmatch(value):
            return float(value)
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return 0
        return max(0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())

    @property
    def _problem(self) -> dict[str, Any]:
        return self._document if self._media == "application/problem+json" else {}

    @property
    def _media(self) -> str:
        found: str = self.response.headers.get("Content-Type", "")
        return found.partition(";")[0].strip().lower()

    @cached_property
    def _document(self) -> dict[str, Any]:
        if self.status < 400 or not self._media.endswith("json"):
            return {}
        try:
            document = self.readable.json()
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


def read(response: httpx.Response, content: bytes, server: Server) -> Answer | httpx.TransportError:
    """The answer; an error as of a broken connection where its body cannot be decoded, for then nobody has learned it."""
    try:
        readable = httpx.Response(response.status_code, headers=response.headers, content=content)
    except httpx.DecodingError as exc:
        return httpx.RemoteProtocolError(f"The body of the answer cannot be decoded: {exc}")
    return Answer(response=response, content=content, readable=readable, server=server)
