"""The client's key: how it is read, what it identifies, and what may be derived from it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid5

import http_sf

from ..exceptions import KeyInvalid

MAX_LENGTH = 255
# Printable ASCII without space, comma and double quote: a comma would hide a repeated header, and a
# double quote a badly quoted one.
_BARE = re.compile(r"[!#-+\--~]+")
_PRINTABLE = re.compile(r"[ -~]*")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse_key(header: str, *, strict: bool = False, min_length: int = 1, uuid_only: bool = False) -> str:
    """
    The key in a header's value: an RFC 9651 string (`"abc"`) or, unless `strict`, the bare `abc`.

    Raises KeyInvalid for anything else, and for a key outside 1 to 255 printable ASCII characters.
    """
    key = _quoted(header) if header.lstrip(" ").startswith('"') else _bare(header, strict=strict)
    return checked(key, min_length=min_length, uuid_only=uuid_only)


def checked(key: str, *, min_length: int = 1, uuid_only: bool = False) -> str:
    """The same key, if it is one: 1 to 255 printable ASCII characters. Raises KeyInvalid."""
    if not _PRINTABLE.fullmatch(key):
        raise KeyInvalid("An idempotency key has printable ASCII characters only.")
    if not min_length <= len(key) <= MAX_LENGTH:
        raise KeyInvalid(f"An idempotency key has {min_length} to {MAX_LENGTH} characters, this one has {len(key)}.")
    if uuid_only and not _UUID.fullmatch(key):
        raise KeyInvalid("The idempotency key must be a UUID, such as 8e03978e-40d5-43e8-bc93-6894a57f9324.")
    return key


def pattern(*, strict: bool = False, min_length: int = 1, uuid_only: bool = False) -> str:
    """The same rules as a regular expression of ECMA-262's, which all of the header's value has to match."""
    length = f"{{{min_length},{MAX_LENGTH}}}"
    bare, inside = rf"[!#-+\--~]{length}", rf'([ !#-\[\]-~]|\\["\\]){length}'
    if uuid_only:
        bare = inside = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    return f'^"{inside}"$' if strict else f'^({bare}|"{inside}")$'


def _quoted(header: str) -> str:
    try:
        item: Any = http_sf.parse(header.encode("ascii"), tltype="item")
    except ValueError as exc:
        raise KeyInvalid('The idempotency key is not one well-formed quoted string ("..." as in RFC 9651).') from exc
    value, _parameters = item
    return str(value)


def _bare(header: str, *, strict: bool) -> str:
    if strict:
        raise KeyInvalid('The idempotency key must be a quoted string ("..." as in RFC 9651).')
    if not header:
        raise KeyInvalid("The idempotency key is empty.")
    if not _BARE.fullmatch(header):
        raise KeyInvalid(
            "Send one idempotency key of printable ASCII characters; without quotes it has no space, comma or quote."
        )
    return header


def length_prefixed(parts: Iterable[bytes]) -> bytes:
    """The parts as one byte string that no other parts can give: ("ab", "c") and ("a", "bc") differ."""
    return b"".join([len(part).to_bytes(8, "big") + part for part in parts])


def record_id(namespace: str, scope: str, key: str) -> UUID:
    """
    The primary key of (namespace, scope, key).

    The bits of UUID version 5 are set because MariaDB's uuid type refuses some of the newer versions.
    """
    digest = hashlib.sha256(length_prefixed(part.encode() for part in (namespace, scope, key))).digest()
    return UUID(bytes=digest[:16], version=5)


def derive(record: UUID, step: str) -> str:
    """A 36-character UUID for one step of a request: the same for every attempt, whatever the payload."""
    return str(uuid5(record, step))
