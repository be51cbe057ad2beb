"""What has to be known of a server before anything may be sent to it twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

MARGIN = timedelta(minutes=15)
"""How long before the end of its life a key is no longer sent: clocks differ, and a request takes its time to arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """
    A server and what it promises. `Server(origin="https://api.example.com")` promises nothing, so nothing that may have
    reached it is sent again.

    Raises ValueError for an origin with a path, and for a `key_ttl` that is no longer than the margin of 15 minutes.
    """

    origin: str
    """Scheme, host and port."""
    key_ttl: timedelta | None = None
    """How long it honours a key: the same key within this time has one effect. None: it honours no keys."""
    key_header: str = "Idempotency-Key"
    quoted: bool = False
    """Whether it insists on a key in double quotes (RFC 9651)."""
    retried: frozenset[int] = frozenset({429, 502, 503, 504})
    """Statuses after which the same request may help, where the answer itself does not say."""

    def __post_init__(self) -> None:
        url = httpx.URL(self.origin)
        if not url.host or url.raw_path != b"/" or url.fragment:
            raise ValueError(f"An origin is a scheme, a host and perhaps a port, not {self.origin!r}.")
        if self.key_ttl is not None and self.key_ttl <= MARGIN:
            raise ValueError(f"A key that lives {self.key_ttl} cannot be sent again safely; leave key_ttl out.")

    @property
    def honours_keys(self) -> bool:
        return self.key_ttl is not None

    def serves(self, url: httpx.URL) -> bool:
        """Whether a URL is one of this server's."""
        return _place(url) == _place(httpx.URL(self.origin))

    def forgets(self, first_sent_at: datetime, now: datetime) -> bool:
        """Whether a key that was first sent then may have been forgotten by the time a request of now arrives."""
        return self.key_ttl is not None and now - first_sent_at >= self.key_ttl - MARGIN

    def key_value(self, key: str) -> str:
        """The key as it stands in the header."""
        return f'"{key}"' if self.quoted else key


# A 500 is stored there and given to every repetition, so asking again is in vain unless the answer says otherwise.
STRIPE = Server(
    origin="https://api.stripe.com", key_ttl=timedelta(hours=24), retried=frozenset({409, 429, 502, 503, 504})
)


def _place(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
