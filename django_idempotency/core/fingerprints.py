"""What was asked, as a keyed digest: an unkeyed one of a body with a card number could be reversed by trying."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from .keys import length_prefixed

# The first byte of every fingerprint. A release that computes another digest raises it and goes on
# comparing the old ones, so that two releases can run side by side.
VERSION = b"\x01"


def fingerprint(secret: str | bytes, parts: Iterable[bytes]) -> bytes:
    """Version byte and HMAC-SHA-256 over the length-prefixed parts."""
    key = secret.encode() if isinstance(secret, str) else secret
    return VERSION + hmac.digest(key, b"django_idempotency.fingerprint" + length_prefixed(parts), "sha256")


def comparable(stored: bytes) -> bool:
    """Whether this release knows how the stored fingerprint was made."""
    return stored[:1] == VERSION


def same(stored: bytes, candidates: Iterable[bytes]) -> bool:
    """Whether the stored fingerprint is one of the candidates (one for each secret still honoured)."""
    return any(hmac.compare_digest(stored, candidate) for candidate in candidates)


def canonical_json(body: bytes | str, ignore: Sequence[str] = ()) -> bytes:
    """
    JSON as a view sees it: key order and white space do not count, `1` and `1.0` differ, integers keep every digit.

    `ignore` names what to leave out by JSON pointer (RFC 6901). Raises ValueError where the body is no JSON.
    """
    text = body if isinstance(body, str) else body.decode(json.detect_encoding(body), "surrogatepass")
    # Only an escape can put a NUL into JSON: where there is none, no name can be taken for our mark of a decimal.
    data = (_ESCAPED if "\\u0000" in text else _PLAIN).decode(text)
    for pointer in ignore:
        data = _without(data, [_unescape(step) for step in pointer.split("/")[1:]])
    return _CANONICAL.encode(data).encode()


def canonical(data: Any, ignore: Sequence[str] = ()) -> bytes:
    """The same for what a parser has made of a body already."""
    return canonical_json(json.dumps(data, default=_described), ignore)


def _escaped(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {f"\0{name}" if name.startswith("\0") else name: value for name, value in pairs}


def _decimal(literal: str) -> Any:
    """A number with all its digits: a view may read it as a Decimal, where a float would round two amounts into one."""
    try:
        sign, digits, exponent = Decimal(literal).as_tuple()
    except ArithmeticError:
        return {"\0": literal}
    significant = "".join(map(str, digits)).rstrip("0")
    exponent = int(exponent) + len(digits) - len(significant) if significant else 0
    return {"\0": f"{'-' * sign}{significant.lstrip('0') or 0}e{exponent}"}


def _described(value: Any) -> Any:
    """What a parser of the project's own may give: dates, Decimals, bytes."""
    return [type(value).__name__, str(value)]


_PLAIN = json.JSONDecoder(parse_float=_decimal)
_ESCAPED = json.JSONDecoder(parse_float=_decimal, object_pairs_hook=_escaped)
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def digest_chunks(chunks: Iterable[bytes]) -> bytes:
    """SHA-256 of a stream that need not fit in memory."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def _unescape(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _without(data: Any, path: list[str]) -> Any:
    """A copy of the data without the value at path; the data itself where there is none."""
    step, rest = path[0], path[1:]
    if isinstance(data, dict) and step in data:
        kept = {name: value for name, value in data.items() if name != step}
        return {**kept, step: _without(data[step], rest)} if rest else kept
    if isinstance(data, list) and rest and step.isdigit() and int(step) < len(data):
        index = int(step)
        return [*data[:index], _without(data[index], rest), *data[index + 1 :]]
    return data
