"""
Whether there can be anything in a text that must not be stored. It is asked of every request, and the answer is mostly no.

A no is a proof: `Masking` would leave the text as it is.
"""

from __future__ import annotations

import re

from .card_numbers import has_long_number

# A code that a person has written down: CVV 123, "my PIN is 1234", /pin/1234.
SPOKEN = re.compile(
    r"\b((?:cvv|cvc|csc|cav|cvn|cvd|cid|pin|security code)2?\W{1,3}(?:(?:is|no|nr|number|code)\W{1,3}){0,2})\d{3,12}\b",
    re.IGNORECASE,
)
# One of these is in all of them, in lower case.
SPOKEN_WORD = re.compile("cvv|cvc|csc|cav|cvn|cvd|cid|pin|security code")
# What comes between a name and its value inside a text of JSON.
COLON = re.compile(r"[\w\]']\s*+:")


def has_spoken_code(text: str) -> bool:
    # Beyond ASCII other letters are an i or an s, too, where case does not count.
    return (not text.isascii() or SPOKEN_WORD.search(text.lower()) is not None) and SPOKEN.search(text) is not None


def text_may_hide(text: str) -> bool:
    """Whether a text may have in it what is masked or dropped."""
    return ":" in text or _has_sign(text) or has_long_number(text) or has_spoken_code(text)


def json_may_hide(text: str) -> bool:
    """Whether JSON may have a text or a number in it that is masked or dropped, whatever its name."""
    # Most colons come right after the quote that ends a name.
    colons = text.count(":") > text.count('":') and COLON.search(text) is not None
    return colons or _has_sign(text) or has_long_number(text) or has_spoken_code(text)


def _has_sign(text: str) -> bool:
    return "\\" in text or "=" in text or "<" in text or "%" in text
