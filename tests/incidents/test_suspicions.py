"""What is left out because nothing can be in a text is what looking into it would have left alone."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_idempotency import masking as masking_module
from django_idempotency.card_numbers import LONG, has_long_number
from django_idempotency.masking import Masking, dumped
from django_idempotency.suspicions import SPOKEN, has_spoken_code, json_may_hide, text_may_hide

# All that `Masking` can find in a text of JSON, as one pattern: slow, and easy to believe.
SUSPECT = re.compile(r"[\\=<%]|[\w\]']\s*+:|" + LONG.pattern + "|" + SPOKEN.pattern, re.IGNORECASE)

WORDS = ("cvv", "CVC2", "csc", "cav", "cvn", "cvd", "Cid", "PIN", "shipping", "security code", "is", "no", "number")
OTHER_LETTERS = ("p\u0131n", "P\u0130N", "c\u0131d", "\u017fecurity code", "c\u017fc", "Jos\u00e9", "\u212a")
DIGITS = ("1", "12", "123", "4111111111111111", "4111 1111", "\u0664\u0661\u0661\u0661", "5500-0000-0000-0004", ".")
SIGNS = (*" ,/_'\"[]{}()?&;*", ":", "=", "<pin>", "</pin>", "%3D", "%", "\\", "\n", "\u00a0", "\u2010")
PIECES = st.sampled_from([*WORDS, *OTHER_LETTERS, *DIGITS, *SIGNS])
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
VALUES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def masked(text):
    masking = Masking()
    return dumped(masking.data(masking.json(text))), masking.changed


def thoroughly_masked(text):
    """Return the same where every text is looked into."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("text_may_hide", "json_may_hide", "has_spoken_code", "has_long_number"):
            patch.setattr(masking_module, name, lambda text: True)
        return masked(text)


@given(text=TEXTS)
@example(text="my p\u0131n is 1234")
@example(text="\u0664" * 13)
def test_a_code_or_a_long_number_is_seen_wherever_there_is_one(text):
    assert has_spoken_code(text) == (SPOKEN.search(text) is not None)
    assert has_long_number(text) == (LONG.search(text) is not None)
    assert json_may_hide(text) == (SUSPECT.search(text) is not None)


@pytest.mark.parametrize("text", ["cvv 123", "a: b", "a=b", "<b>", "a%20b", "a\\b", "4111111111111111", "PIN 1234"])
def test_each_kind_of_suspicion_is_raised(text):
    assert text_may_hide(text)


@pytest.mark.parametrize("word", ["CVV", "cvc", "csc", "cav", "cvn", "cvd", "Cid", "pin", "security code"])
def test_each_word_for_a_code_is_known(word):
    assert has_spoken_code(f"my {word} is 1234")


@pytest.mark.parametrize("text", ['{"note":"cvv: 9"}', '{"note": "[cvv] : 9"}', '{"a": 1, "note": "x\': 9"}'])
def test_a_colon_inside_a_text_of_json_is_told_from_those_of_its_members(text):
    assert json_may_hide(text)


@pytest.mark.parametrize("text", ["/payments/42/capture", "application/json", "order 2026-000123", "shipping 12"])
def test_an_ordinary_text_raises_none(text):
    assert not text_may_hide(text)


@pytest.mark.parametrize("encrypted", [False, True])
@given(text=TEXTS)
def test_a_text_without_suspicion_is_one_that_masking_leaves_alone(encrypted, text):
    masking = Masking(encrypted=encrypted)
    if not text_may_hide(text):
        assert (masking._told(text), "%" in text) == (text, False)


@given(value=VALUES)
def test_json_is_masked_as_if_every_text_of_it_were_looked_into(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        assert masked(text) == thoroughly_masked(text)
