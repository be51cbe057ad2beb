"""What was stored, as text for a page: masked, bounded, and said where it cannot be read. Templates escape it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from django.utils.translation import gettext as _

from .conf import get_policy, profiles
from .encryption import KeyLost, opened
from .masking import LITERAL, Masking, dumped, verdict

SHOWN = 10_000
"""Characters of a stored body that are shown."""
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Payload:
    """A body for a page, and what has to be said of it."""

    text: str = ""
    note: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.text, self.note and f"({self.note})")))


class _Unreadable(Exception):
    """No text; why is said to whoever looks at the page."""


def masked(stored: bytes | memoryview | None, key_id: str, content_type: str = "", *, pretty: bool = True) -> Payload:
    """A body without what nobody should see who may only look at requests; JSON in one line if it need not be pretty."""
    if stored is None:
        return Payload()
    masking = Masking(_pointers())
    try:
        text = _text(bytes(stored), key_id)
        data = _json(text, masking)
        if data is None:
            return shortened(_plain(text, content_type, masking))
        clean = masking.data(data)
        return shortened(_indented(clean) if pretty else dumped(clean))
    except _Unreadable as unreadable:
        return Payload(note=str(unreadable))
    except RecursionError:
        return Payload(note=_("It is nested too deeply to be masked."))


def unmasked(body: bytes | None, *, pretty: bool = True) -> Payload:
    """A body as it is stored, decrypted."""
    if body is None:
        return Payload()
    try:
        text = _text(body, "")
    except _Unreadable as unreadable:
        return Payload(note=str(unreadable))
    try:
        data = _json(text, Masking()) if pretty else None
        return shortened(text if data is None else _indented(data))
    except RecursionError:
        return shortened(text)


def compact(stored: bytes | memoryview | None, key_id: str, content_type: str = "") -> str | None:
    """A masked body as it would be sent, whole and in one piece; None where it cannot be."""
    masking = Masking(_pointers())
    try:
        text = _text(bytes(stored), key_id) if stored is not None else "\0"
        if "\0" in text:
            return None
        data = _json(text, masking)
        if data is None:
            return _plain(text, content_type, masking)
        clean = masking.data(data)
        return dumped(clean) if masking.changed else text
    except (_Unreadable, RecursionError):
        return None


def shortened(text: str) -> Payload:
    """As much of a text as a page shows of it."""
    if len(text) <= SHOWN:
        return Payload(visible(text))
    note = _("The first {shown} of {number} characters.").format(shown=SHOWN, number=len(text))
    return Payload(visible(text[:SHOWN]), note)


def data_of(stored: bytes | memoryview | None, key_id: str, content_type: str = "", *, clear: bool = False) -> Any:
    """
    What a body holds, to be compared: JSON, or the fields of a form; None where it is neither, or cannot be read.

    Masked, unless it was revealed to whoever looks at it, and is `clear`.
    """
    masking = Masking(() if clear else _pointers())
    try:
        text = _text(bytes(stored), key_id) if stored is not None else ""
        if _is_form(content_type):
            return _fields(text if clear else masking.query(text))
        data = _json(text, masking)
        return data if clear or data is None else masking.data(data)
    except (_Unreadable, RecursionError):
        return None


def headers(stored: str) -> list[tuple[str, str]]:
    """Stored headers; none where they cannot be read."""
    try:
        return [(visible(str(name)), visible(str(value))) for name, value in json.loads(stored or "[]")]
    except (ValueError, TypeError):
        return []


def masked_headers(stored: str) -> list[tuple[str, str]]:
    """Stored headers without what nobody should see who may only look at requests."""
    return [(name, verdict(name) or Masking().text(value)) for name, value in headers(stored)]


def content_type(stored: str) -> str:
    return next((value for name, value in headers(stored) if name.lower() == "content-type"), "")


def visible(text: str) -> str:
    """A text in which nothing is hidden: what is not printable, or turns the direction of reading, is written out."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in "\n\t" else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _text(stored: bytes, key_id: str) -> str:
    """What is stored, decrypted and decoded. Raises _Unreadable."""
    try:
        body = opened(stored, key_id, _keys()) or b""
        # Storage, and most parsers, read over the mark; it must not hide from masking that this is JSON.
        return body.decode().removeprefix("\ufeff")
    except KeyLost:
        raise _Unreadable(
            _("It is encrypted under the key {key_id}, which is not known here.").format(key_id=key_id)
        ) from None
    except UnicodeDecodeError:
        raise _Unreadable(_("{number} bytes that are no text.").format(number=len(body))) from None


def _json(text: str, masking: Masking) -> Any:
    """A document's data; None where it is none, or one that has no names in it."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return masking.json(text)
    except (ValueError, RecursionError):
        return None


def _plain(text: str, content_type: str, masking: Masking) -> str:
    """What is no JSON, masked. Raises _Unreadable where pointers say what to mask, and cannot be followed."""
    if _is_form(content_type):
        return masking.query(text)
    if masking.paths and ("json" in content_type.lower() or text.lstrip()[:1] in ("{", "[")):
        raise _Unreadable(_("It is no JSON that can be read, so that it cannot be masked."))
    return masking.text(text)


def _is_form(content_type: str) -> bool:
    # However a client writes it, to Django it is one.
    return content_type.strip().lower().startswith(FORM)


def _fields(text: str) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _indented(data: Any) -> str:
    return LITERAL.sub(r"\1", json.dumps(data, indent=2, ensure_ascii=False, default=str))


def _pointers() -> list[str]:
    return [pointer for name in profiles() for pointer in get_policy(name).mask]


def _keys() -> Sequence[str]:
    return [key for name in profiles() for key in get_policy(name).encryption_keys]
