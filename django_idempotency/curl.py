"""A stored request as a command line: without secrets, and harmless to the shell whatever the client has sent."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def command(method: str, path: str, headers: Iterable[tuple[str, str]], body: str) -> str:
    """
    What repeats the request at the address in the variable ORIGIN.

    Each header has a name, so that none can be taken for a file; the body is sent as it is, and never read from one.
    """
    parts = ["curl", "--globoff", "--request", quoted(method), "--url", f'"${{ORIGIN:?}}"{quoted(path)}']
    for name, value in headers:
        parts += ["--header", quoted(f"{name}: {value}")]
    if body:
        parts += ["--data-raw", quoted(body)]
    return " ".join(parts)


def quoted(text: str) -> str:
    """
    One word of the shell's: in single quotes, or as bash and zsh write what a terminal must not do, let alone show.

    There, quotes and backslashes are numbers as well: to a shell that does not know the notation it is still one word.
    """
    if text.isprintable() and "\\" not in text:
        return shlex.quote(text)
    return "$'" + "".join(NAMED.get(sign) or _written(sign) for sign in text) + "'"


def _written(sign: str) -> str:
    if sign.isprintable() and sign not in "'\\":
        return sign
    return f"\\U{ord(sign):08x}" if ord(sign) >= 0x80 else f"\\{ord(sign):03o}"
