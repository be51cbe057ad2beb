"""What two payloads differ in, field by field, by JSON pointer (RFC 6901). Bounded, whatever a client has sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .card_numbers import MASKED
from .masking import DROPPED, dumped
from .payloads import visible

LOOKED_AT = 100_000
"""Fields that are compared."""
ROWS = 500
"""Fields that are told."""
LONGEST = 200
"""Characters that are told of a pointer or a value."""
CUT = "…"
LAST_DIGITS = "****"
"""What is left of a card number begins with it."""

ABSENT: Any = object()
Path = tuple[Any, ...]
"""A step after the path to it; empty for the whole."""


class Change(StrEnum):
    SAME = "same"
    CHANGED = "changed"
    FIRST_ONLY = "first-only"
    OTHER_ONLY = "other-only"
    HIDDEN = "hidden"
    """Masked in both: what is under it may differ."""


@dataclass(frozen=True, slots=True)
class Field:
    pointer: str
    change: Change
    first: str
    other: str


@dataclass(frozen=True, slots=True)
class Comparison:
    fields: list[Field]
    same: int
    """How many are the same in both."""
    more: bool
    """Whether there is more in them than was compared or is told."""


def compared(first: Any, other: Any, *, everything: bool = False) -> Comparison:
    """The fields in which two parsed payloads differ, or may; with `everything`, those in which they do not, too."""
    fields: list[Field] = []
    same = 0
    for looked, (path, one, two) in enumerate(_leaves(first, other)):
        if looked == LOOKED_AT or len(fields) == ROWS:
            return Comparison(fields, same, more=True)
        change = _change(one, two)
        same += change is Change.SAME
        if everything or change is not Change.SAME:
            fields.append(Field(_pointer(path), change, _said(one), _said(two)))
    return Comparison(fields, same, more=False)


def _leaves(first: Any, other: Any) -> Iterator[tuple[Path, Any, Any]]:
    """Everything that has nothing in it, side by side. Without recursion: payloads may be as deep as a parser lets them."""
    open_ones = [iter([((), first, other)])]
    while open_ones:
        for path, one, two in open_ones[-1]:
            if _opens(one, two):
                open_ones.append(_members(path, one, two))
                break
            yield path, one, two
        else:
            open_ones.pop()


def _opens(one: Any, two: Any) -> bool:
    known = [side for side in (one, two) if side is not ABSENT]
    return any(known) and len({type(side) for side in known}) == 1 and isinstance(known[0], dict | list)


def _members(path: Path, one: Any, two: Any) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(one if two is ABSENT else two, dict):
        mine, others = ({} if side is ABSENT else side for side in (one, two))
        for name in [*mine, *(name for name in others if name not in mine)]:
            yield (path, name), mine.get(name, ABSENT), others.get(name, ABSENT)
        return
    mine, others = ([] if side is ABSENT else side for side in (one, two))
    for place in range(max(len(mine), len(others))):
        yield (path, place), _at(mine, place), _at(others, place)


def _at(found: list[Any], place: int) -> Any:
    return found[place] if place < len(found) else ABSENT


def _change(one: Any, two: Any) -> Change:
    if two is ABSENT:
        return Change.FIRST_ONLY
    if one is ABSENT:
        return Change.OTHER_ONLY
    # To Python, true is 1.
    if type(one) is not type(two) or one != two:
        return Change.CHANGED
    masks = (MASKED, DROPPED, LAST_DIGITS)
    return Change.HIDDEN if isinstance(one, str) and any(mask in one for mask in masks) else Change.SAME


def _pointer(path: Path) -> str:
    steps: list[str] = []
    while path:
        path, step = path
        steps.append("/" + str(step)[: LONGEST + 1].replace("~", "~0").replace("/", "~1"))
    return _cut("".join(reversed(steps)))


def _said(value: Any) -> str:
    if value is ABSENT:
        return ""
    if isinstance(value, str) and len(value) > LONGEST:
        value = value[: LONGEST + 1]
    try:
        return _cut(dumped(value))
    except RecursionError:
        return CUT


def _cut(text: str) -> str:
    return visible(text if len(text) <= LONGEST else text[:LONGEST] + CUT)
