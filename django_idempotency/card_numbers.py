"""Card numbers and magnetic stripes in texts. Every pattern here runs through a text once, whatever is in it."""

from __future__ import annotations

import re
from itertools import islice

SHORTEST, LONGEST = 13, 19
# What people and programs put between the groups of a number: spaces, dashes, points, and what cannot be seen.
BETWEEN = r" \t\u00a0\u00ad\u2000-\u2015\u202f\u2060\u2212\u3000\ufeff.-"
LONG = re.compile(rf"\d[\d{BETWEEN}]{{11}}")
# The same where all of the text is ASCII, in a third of the time.
LONG_ASCII = re.compile(r"[0-9][0-9 \t.-]{11}")
DIGITS = re.compile(rf"\d[\d{BETWEEN}]{{12,}}+")
GROUP = re.compile(r"\d++")
# More numbers in a row are no text; trying them all would take a second for each megabyte.
MOST_GROUPS = 1000
MASKED = "[masked]"
DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
# A magnetic stripe as it is read: %B4111...^NAME^...? and ;4111...=...?, also inside a chip's data, with a D for the =.
TRACK = re.compile(r"%?[Bb]?;?(?<!\d)\d{12,}+(?:\^[^^]{0,40}\^[^?\s\"]*+\??|[=Dd]\d{4,}+\??)")


def has_long_number(text: str) -> bool:
    """Whether there can be a card number in the text at all."""
    return (LONG_ASCII if text.isascii() else LONG).search(text) is not None


def card_numbers_masked(text: str) -> str:
    """The text with nothing of a card number but its last four digits."""
    return DIGITS.sub(_cards_masked, text)


def is_card_number(digits: str) -> bool:
    """Whether these are the digits of a card: how many they are, the first one, and the check digit (Luhn)."""
    if not SHORTEST <= len(digits) <= LONGEST or digits[0] in "01":
        return False
    return (sum(map(int, digits[::-2])) + sum(map(DOUBLED.__getitem__, map(int, digits[-2::-2])))) % 10 == 0


def _cards_masked(found: re.Match[str]) -> str:
    """Groups of digits, in which those that make a card number are replaced by its last four digits."""
    groups = list(islice(GROUP.finditer(found[0]), MOST_GROUPS + 1))
    if len(groups) > MOST_GROUPS:
        return MASKED
    parts, done, after = [], 0, 0
    for first, group in enumerate(groups):
        if first >= after and (card := _card_at(groups, first)):
            digits, after = card
            parts += [found[0][done : group.start()], f"****{digits[-4:]}"]
            done = groups[after - 1].end()
    return "".join([*parts, found[0][done:]])


def _card_at(groups: list[re.Match[str]], first: int) -> tuple[str, int] | None:
    """The longest card number that begins with this group, and the group after it."""
    digits, found = "", None
    for place in range(first, len(groups)):
        if groups[place].end() - groups[place].start() + len(digits) > LONGEST:
            break
        digits += groups[place][0]
        if is_card_number(digits):
            found = digits, place + 1
    return found
