"""
Posts to an address that a client has named: only to hosts on a list, over TLS, and never into our own network.

The address is resolved once, and what was looked at is what is connected to. Redirects are not followed.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy

from .refusals import NotSent, WrongState

TIMEOUT = 5.0
"""Seconds for the connection, and for each thing that is waited for after it."""
LONGEST = 15.0
"""Seconds for all of it: who sends something now and then would never be waited for too long."""

UNICAST = IPv6Network("2000::/3")

NOT_ALLOWED = gettext_lazy(
    "The request names no address that an answer may be posted to: it must be https, without a user, and its host one of "
    "CALLBACK_HOSTS."
)
PRIVATE = gettext_lazy("The host {host} is in a private network, or has no address. Nothing is posted there.")
NOT_POSTED = gettext_lazy("The answer could not be posted to {host}: {error}. Try again later.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    host: str
    port: int
    path: str
    """With its query."""
    address: str
    """Of the host, as it was resolved and looked at."""


def target(url: Any, hosts: Sequence[str]) -> Target:
    """Where an answer may be posted to. Raises WrongState."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        raise WrongState(NOT_ALLOWED) from None
    named = host if port == 443 else f"{host}:{port}"
    if parts.scheme != "https" or "@" in parts.netloc or named not in [allowed.lower() for allowed in hosts]:
        raise WrongState(NOT_ALLOWED)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host=host, port=port, path=path, address=_public(host, port))


def _public(host: str, port: int) -> str:
    """An address of the host. Raises WrongState where any of them is not one of the internet's."""
    try:
        found = [str(place[4][0]) for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        found = []
    if not found or not all(is_public(address) for address in found):
        raise WrongState(PRIVATE.format(host=host))
    return found[0]


def is_public(address: str) -> bool:
    place = ip_address(address.partition("%")[0])
    if isinstance(place, IPv6Address) and (place not in UNICAST or place.sixtofour):
        # Translated to an address of the old kind, which may be anybody's.
        return False
    return place.is_global and not place.is_multicast


def post(target: Target, body: bytes, headers: Mapping[str, str]) -> int:
    """The status that is answered. Raises NotSent."""
    connection = _Pinned(target)
    deadline = Timer(LONGEST, connection.cut)
    deadline.daemon = True
    deadline.start()
    try:
        connection.request("POST", target.path, body, dict(headers))
        return connection.getresponse().status
    except (OSError, HTTPException, ValueError) as exc:
        raise NotSent(NOT_POSTED.format(host=target.host, error=type(exc).__name__)) from exc
    finally:
        deadline.cancel()
        connection.close()


class _Pinned(HTTPSConnection):
    """Connects to the address that was looked at, and not to what the name says by then."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.host, target.port, timeout=TIMEOUT)
        self.address = target.address

    def connect(self) -> None:
        plain = socket.create_connection((self.address, self.port), TIMEOUT)
        context = ssl.create_default_context()
        # The handshake can be cut off only when the socket is known.
        self.sock = context.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock.do_handshake()

    def cut(self) -> None:
        """End it, from another thread: whatever is waited for ends with an error."""
        if self.sock is not None:
            with suppress(OSError):
                # Not the one of TLS, which would have to wait for its turn.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
