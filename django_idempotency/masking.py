"""
What must not be stored as it came: secrets and card numbers are masked; verification codes, PINs and track data dropped.

What is dropped is never stored, encrypted or not (PCI DSS 3.3.1). What is masked is stored under encryption only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from .card_numbers import MASKED, SHORTEST, TRACK, card_numbers_masked, has_long_number
from .suspicions import SPOKEN, has_spoken_code, json_may_hide, text_may_hide

DROPPED = "[dropped]"

# A name says what its value is by any of these in it, whatever its case and separators,
DROPPED_NAMES = (
    *("cvv", "cvc", "cardverification", "cardsecurity", "securitycode", "verificationvalue", "pinblock", "pincode"),
    *("cav2", "cv2", "cvx", "cvnumber", "cardcode", "verificationcode", "verificationnumber", "verificationdata"),
    *("cardpin", "userpin", "newpin", "oldpin", "atmpin", "pinnumber", "pinblk", "swipedata"),
    *("track1", "track2", "track3", "trackdata", "magstripe", "magneticstripe", "magnetictrack"),
)
MASKED_NAMES = (
    *("password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "authorization", "credential"),
    *("cardnumber", "accountnumber", "primaryaccount"),
)
# or by one of these as a word of its own: "pin" is not in "shipping", nor "cid" in "incident".
DROPPED_WORDS = frozenset({"pin", "cid", "csc", "cvn", "cvd"})
MASKED_WORDS = frozenset({"pan", "iban", "ssn", "otp", "pwd", "cookie", "cookies"})
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# One of these is in every name that says anything.
HINT = re.compile("|".join((*DROPPED_NAMES, *MASKED_NAMES, *sorted(DROPPED_WORDS | MASKED_WORDS))))
SILENT = {ord(sign): None for sign in " !\"#$%&'()*+,-;<=>?@\\^_`{|}~"}

# Names and values in what is no JSON and no form: cvv=123, "cvv": "123", card[cvv]=123, and that inside a string. Each
# pattern is possessive, and begins only where a name does: no text makes them go over it twice.
NAME = re.compile(
    r"""(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]++(?:\]?\[[A-Za-z0-9_.-]*+){0,5}+)[\]\\"']*+\s*+[:=]{1,2}+>?\s*+"""
)
VALUE = re.compile(
    r""""[^"\\]*+(?:\\.[^"\\]*+)*+"?|'[^'\\]*+(?:\\.[^'\\]*+)*+'?"""
    r"""|\\+"[^"]*+"?|\\+'[^']*+'?|[^\s"'<>&;,}\]\\]+""",
    re.DOTALL,
)
BRACKET = re.compile(r"[\[\]{}]")
ELEMENT = re.compile(r"<((?:[A-Za-z_][\w-]*+:)?[A-Za-z_][\w.-]*+)[^<>]*+(?<!/)>")
# <field name="cvv">123</field>, and <field name="cvv" value="123"/>.
LABELLED = re.compile(
    r"""<[^<>]{0,200}?\s(?:name|key|id)\s?=\s?["']([^"'<>]{1,100}+)["'](?:[^<>]{0,500}+(?<!/)>|[^<>]{0,200}?\svalue=)""",
    re.IGNORECASE,
)
# Members whose text says what the "value" beside it is: {"name": "cvv", "value": "123"}.
LABELS = ("name", "key", "field", "id", "path", "type", "label")
PIECE = 1 << 16
MOST_INNER = 1000
"""JSON inside of texts that is parsed in one request: a parser for each of a million texts would take seconds."""

ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str)
# A decimal on its way through json.dumps with all its digits: only an escape can put a NUL into JSON. No name is one.
LITERAL = re.compile(r'"\\u0000(-?[0-9][0-9.eE+-]*)"(?!:)')


@lru_cache(maxsize=4096)
def verdict(name: str) -> str:
    """
    What becomes of a value under this name: MASKED, DROPPED, or "" where the name says nothing of it.

    Of a name in steps, card[cvv][0] or card.cvv.value, any step may say it.
    """
    joined = name.lower().translate(SILENT)
    if not HINT.search(joined):
        return ""
    words = {word[0].lower() for word in WORD.finditer(name)}
    if words & DROPPED_WORDS or any(part in joined for part in DROPPED_NAMES):
        return DROPPED
    if words & MASKED_WORDS or any(part in joined for part in MASKED_NAMES):
        return MASKED
    return ""


class Masking:
    """
    One pass over a request. With `encrypted`, what is masked stays as it is and only what is dropped goes.

    `mask` are JSON pointers, with `*` for any name or index.
    """

    def __init__(self, mask: Sequence[str] = (), *, encrypted: bool = False) -> None:
        self.paths = [] if encrypted else [pointer_steps(pointer) for pointer in mask]
        self.encrypted = encrypted
        self.changed = False
        """Whether anything is not as it came: the request cannot be sent again."""
        self._texts = True
        self._inner_left = MOST_INNER

    def json(self, text: str) -> Any:
        """JSON, parsed; decimals are texts that begin with a NUL. Raises ValueError and RecursionError."""
        self._texts = json_may_hide(text)
        return json.loads(text, parse_float=_literal, object_pairs_hook=self._members)

    def data(self, data: Any) -> Any:
        """Parsed data, masked in place."""
        holder = [data]
        for path in self.paths:
            self._point(holder, ["0", *path])
        self._walk(holder)
        return holder[0]

    def form(self, pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
        """The fields of a form. A pointer to one is its name after a slash."""
        named = {path[0] for path in self.paths if len(path) == 1}
        return [(self.text(name), self._field(name, value, named)) for name, value in pairs]

    def text(self, text: str) -> str:
        """Any text: names and values as far as they can be told, and card numbers."""
        if (len(text) < SHORTEST and text.isalnum()) or not text_may_hide(text):
            return text
        clean = self._told(text)
        if "%" in clean and (plain := _unquoted(clean)) != clean and (told := self._told(plain)) != plain:
            clean = told
        self.changed |= clean != text
        return clean

    def query(self, text: str) -> str:
        """A query or a posted form, unchanged where nothing in it is masked."""
        pairs = parse_qsl(text, keep_blank_values=True)
        clean = self.form(pairs)
        return text if clean == pairs else urlencode(clean)

    def _fate(self, name: str) -> str:
        # Nobody may fill the memory with names of a megabyte each.
        fate = verdict(name) if len(name) <= 100 else verdict.__wrapped__(name)
        return "" if self.encrypted and fate == MASKED else fate

    def _field(self, name: str, value: Any, named: set[str]) -> Any:
        fate = self._fate(name) or (MASKED if named & {name, "*"} else "")
        if fate and value not in ("", [], [""]):
            self.changed = True
            return fate
        return [self.text(one) for one in value] if isinstance(value, list) else self.text(value)

    def _told(self, text: str) -> str:
        clean = self._replaced(text, NAME, _value) if ":" in text or "=" in text else text
        if "<" in clean:
            clean = self._replaced(self._replaced(clean, ELEMENT, _element), LABELLED, _labelled)
        if has_spoken_code(clean):
            clean = SPOKEN.sub(rf"\1{DROPPED}", clean)
        if has_long_number(clean):
            clean = TRACK.sub(DROPPED, clean)
            if not self.encrypted:
                clean = card_numbers_masked(clean)
        return self._inner(text, clean)

    def _inner(self, text: str, clean: str) -> str:
        """Of JSON in a text, a parser knows better than a pattern where a value ends, and what its escapes mean."""
        told = (clean == text and "\\" not in text) or text.lstrip()[:1] not in ("{", "[")
        if told or self._inner_left <= 0:
            return clean
        self._inner_left -= 1
        inner = Masking(encrypted=self.encrypted)
        inner._inner_left = self._inner_left
        try:
            data = inner.data(inner.json(text))
        except (ValueError, RecursionError):
            return clean
        self._inner_left = inner._inner_left
        return dumped(data) if inner.changed else text

    def _members(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        # Of two members with one name the second counts, and what is stored must not show the first.
        self.changed |= len(members) != len(pairs)
        return members

    def _point(self, node: Any, path: list[str]) -> None:
        step, rest = path[0], path[1:]
        for place in list(_places(node, step)):
            if rest:
                self._point(node[place], rest)
            else:
                node[place], self.changed = MASKED, True

    def _walk(self, node: Any) -> None:
        named = type(node) is dict
        self._label(node)
        children: Iterable[tuple[Any, Any]] = node.items() if named else enumerate(node)
        for place, child in children:
            fate = self._fate(place) if named else ""
            if fate and child is not None and child != "":
                node[place], self.changed = fate, True
            elif type(child) is dict or type(child) is list:
                self._walk(child)
            elif self._texts:
                self._clean(node, place, child)
        if named and self._texts:
            for name in [name for name in node if self.text(name) != name]:
                node[self.text(name)] = node.pop(name)

    def _label(self, node: Any) -> None:
        """What is named by a text beside it: {"name": "cvv", "value": 1}, a JSON patch, ["cvv", 1]."""
        if type(node) is dict and "value" in node:
            place: str | int = "value"
            said = [node[label] for label in LABELS if type(node.get(label)) is str]
        elif type(node) is list and len(node) == 2 and type(node[0]) is str and str(node[1]).isdecimal():
            place, said = 1, [node[0]]
        else:
            return
        for fate in filter(None, map(self._fate, said)):
            node[place], self.changed = fate, True

    def _clean(self, node: Any, place: Any, child: Any) -> None:
        if type(child) is str:
            clean = self.text(child)
        elif type(child) is int and abs(child) >= 10 ** (SHORTEST - 1):
            clean = self.text(str(child))
        else:
            return
        if clean != str(child):
            node[place] = clean.removeprefix("\0")

    def _replaced(self, text: str, names: re.Pattern[str], end_of: Callable[[re.Match[str]], int]) -> str:
        """The text with what follows the names that say so replaced."""
        parts, done = [], 0
        for found in names.finditer(text):
            if found.end() >= done and (fate := self._fate(found[1])) and (end := end_of(found)) > found.end():
                parts += [text[done : found.end()], fate]
                done = end
        return "".join([*parts, text[done:]])


def dumped(data: Any) -> str:
    """What `Masking.json` has parsed, as JSON again, its decimals with all their digits."""
    text = ENCODER.encode(data)
    return LITERAL.sub(r"\1", text) if "\\u0000" in text else text


def pointer_steps(pointer: str) -> list[str]:
    """The steps of a JSON pointer (RFC 6901)."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _unquoted(text: str) -> str:
    # In pieces, since unquote() makes an object of each escape.
    return "".join(unquote(text[place : place + PIECE]) for place in range(0, len(text), PIECE))


def _literal(text: str) -> str:
    return f"\0{text}"


def _places(node: Any, step: str) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node if step == "*" else [name for name in node if name == step]
    elif isinstance(node, list):
        yield from (place for place in range(len(node)) if step in ("*", str(place)))


def _value(name: re.Match[str]) -> int:
    """Where the value after a name ends."""
    if name.string[name.end() : name.end() + 1] in ("{", "["):
        return _closing(name.string, name.end())
    value = VALUE.match(name.string, name.end())
    return value.end() if value else 0


def _closing(text: str, start: int) -> int:
    """Where what opens here is closed; the end of the text where it is not."""
    depth = 0
    for bracket in BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "{[" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


def _element(tag: re.Match[str]) -> int:
    """Where an element ends, with all that is in it."""
    end = tag.string.find(f"</{tag[1]}", tag.end())
    return len(tag.string) if end < 0 else end


def _labelled(tag: re.Match[str]) -> int:
    """The same for one whose name is an attribute's; or where its value ends, if that is an attribute, too."""
    if not tag[0].endswith(">"):
        return _value(tag)
    end = tag.string.find("</", tag.end())
    return len(tag.string) if end < 0 else end
