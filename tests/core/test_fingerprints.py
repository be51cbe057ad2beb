"""Fingerprints are equal if and only if the view sees equal input."""

import json
import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_idempotency.core.fingerprints import (
    VERSION,
    canonical,
    canonical_json,
    comparable,
    digest_chunks,
    fingerprint,
    same,
)

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def equal(one, other):
    """Whether a view sees the same: `1`, `1.0` and `true` are three things, as are `0.0` and `-0.0`."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


def reordered(document):
    if isinstance(document, dict):
        return {name: reordered(document[name]) for name in reversed(document)}
    return [reordered(item) for item in document] if isinstance(document, list) else document


def printable(document):
    """Whether it can be encoded: a lone surrogate can only be escaped."""
    return not any(0xD800 <= ord(character) < 0xE000 for character in json.dumps(document, ensure_ascii=False))


def literal(number):
    """A JSON number with a fraction or an exponent."""
    sign, digits, exponent = number.as_tuple()
    return f"{'-' * sign}{''.join(map(str, digits)).lstrip('0') or 0}e{exponent}"


class TestJson:
    @given(documents, documents)
    def test_two_documents_are_equal_only_where_the_view_sees_them_so(self, one, other):
        assert (canonical(one) == canonical(other)) == equal(one, other)

    @given(documents, documents)
    def test_two_bodies_are_equal_only_where_the_view_sees_them_so(self, one, other):
        assert (canonical_json(json.dumps(one)) == canonical_json(json.dumps(other))) == equal(one, other)

    @given(documents)
    def test_order_white_space_and_escapes_do_not_count(self, document):
        spaced = json.dumps(reordered(document), indent=2, ensure_ascii=not printable(document))
        assert canonical_json(json.dumps(document)) == canonical_json(spaced)
        assert canonical(document) == canonical(reordered(document))

    @given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
    def test_decimals_keep_every_digit_for_a_view_that_reads_decimals(self, one, other):
        same = one == other and one.is_signed() == other.is_signed()
        assert (canonical_json(literal(one)) == canonical_json(literal(other))) == same

    @pytest.mark.parametrize("body", ["5.0", "-0.0", "1e400", "1e99999999999999999999"])
    def test_nothing_a_client_can_send_passes_for_a_number(self, body):
        """Whatever stands for a number in the canonical form, sent as it is."""
        disguised = canonical_json(body).decode()
        assert canonical_json(disguised) != canonical_json(body) or json.loads(disguised) == json.loads(body)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_the_encoding_does_not_count(self, encoding):
        assert canonical_json('{"name": "café"}'.encode(encoding)) == canonical_json('{"name": "caf\\u00e9"}')

    @pytest.mark.parametrize(
        ("one", "other"),
        [("1", "1.0"), ("1", "true"), ("0", "false"), ("null", '""'), ("[]", "{}"), ("1", '"1"'), ("-0.0", "0.0")],
    )
    def test_what_only_looks_alike_is_told_apart(self, one, other):
        assert canonical_json(one) != canonical_json(other)

    def test_large_integers_keep_every_digit(self):
        assert canonical_json("12345678901234567890123") != canonical_json("12345678901234567890124")

    @pytest.mark.parametrize(
        ("one", "other"),
        [("12345678901234567.89", "12345678901234568.91"), ("1e400", "1e500"), ("0.1", "0.10000000000000000001")],
    )
    def test_two_amounts_that_one_float_would_stand_for_are_told_apart(self, one, other):
        assert float(one) == float(other)
        assert canonical_json(one) != canonical_json(other)

    @pytest.mark.parametrize(("one", "other"), [("100.10", "100.1"), ("1e2", "100.0"), ("0.0", "0e7")])
    def test_two_ways_to_write_one_amount_are_one(self, one, other):
        assert canonical_json(one) == canonical_json(other)

    def test_values_that_json_has_no_words_for_are_told_apart(self):
        values = [Decimal("5.00"), Decimal("5.0"), date(2026, 1, 1), b"5", 5, "5"]
        assert len({canonical({"amount": value}) for value in values}) == len(values)

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\xff", b'{"a": "\xff"}', b"amount=5", b"1" * 5000])
    def test_what_is_no_json_raises_value_error(self, body):
        with pytest.raises(ValueError):  # noqa: PT011 -- of several kinds, with json's own words
            canonical_json(body)


class TestPointers:
    @pytest.mark.parametrize(
        ("pointer", "left"),
        [
            ("/sent_at", {"amount": 5, "meta": {"id": 1, "at": 2}, "lines": [{"id": 1}, {"id": 2}]}),
            ("/meta/at", {"amount": 5, "sent_at": 9, "meta": {"id": 1}, "lines": [{"id": 1}, {"id": 2}]}),
            ("/lines/1/id", {"amount": 5, "sent_at": 9, "meta": {"id": 1, "at": 2}, "lines": [{"id": 1}, {}]}),
        ],
    )
    def test_what_a_pointer_names_is_left_out(self, pointer, left):
        whole = {"amount": 5, "sent_at": 9, "meta": {"id": 1, "at": 2}, "lines": [{"id": 1}, {"id": 2}]}
        assert canonical(whole, [pointer]) == canonical(left)
        assert "sent_at" in whole

    @pytest.mark.parametrize("pointer", ["/nothing", "/lines/7/id", "/lines/x", "/lines/1", "/amount/x", "/meta/x/y"])
    def test_a_pointer_to_nothing_changes_nothing(self, pointer):
        whole = {"amount": 5, "meta": {"id": 1}, "lines": [{"id": 1}, {"id": 2}]}
        assert canonical(whole, [pointer]) == canonical(whole)

    def test_names_with_slash_and_tilde_are_escaped(self):
        assert canonical({"a/b": 1, "c~d": 2, "e~1f": 3, "k": 4}, ["/a~1b", "/c~0d", "/e~01f"]) == canonical({"k": 4})

    @given(documents)
    def test_a_document_that_differs_in_left_out_members_only_is_the_same(self, value):
        one = {"amount": 5, "trace": value}
        assert canonical(one, ["/trace"]) == canonical({"amount": 5}, ["/trace"])


class TestDigests:
    parts = st.lists(st.binary(max_size=8), max_size=5)

    @given(parts, parts)
    def test_fingerprints_are_equal_only_where_each_part_is(self, one, other):
        assert (fingerprint("secret", one) == fingerprint("secret", other)) == (one == other)

    def test_it_depends_on_the_secret(self):
        assert fingerprint("secret", [b"a"]) != fingerprint("another", [b"a"])

    def test_a_secret_of_bytes_is_that_of_its_text(self):
        assert fingerprint("secret", [b"a"]) == fingerprint(b"secret", [b"a"])

    def test_it_begins_with_the_version_of_its_making(self):
        assert fingerprint("secret", [b"a"])[:1] == VERSION
        assert len(fingerprint("secret", [b"a"])) == 33

    def test_it_does_not_change_from_release_to_release(self):
        """A retry in flight over a deploy would be told that its key was used for something else."""
        assert (
            fingerprint("secret", [b"a"]).hex() == "01324aba9dac3214915df82a9ccd180d6977c77b62eecc83f7ef33124bf3fbc05b"
        )

    @pytest.mark.parametrize("stored", [b"", b"\x00" + b"x" * 32, b"\x02" + b"x" * 32])
    def test_another_releases_version_cannot_be_compared(self, stored):
        assert not comparable(stored)

    def test_one_of_several_candidates_suffices(self):
        new, old = (fingerprint(secret, [b"a"]) for secret in ("new", "old"))
        assert same(old, [new, old])
        assert not same(old, [new])
        assert not same(old, [])

    @given(st.lists(st.binary(max_size=8)))
    def test_the_digest_of_a_stream_does_not_depend_on_its_chunks(self, chunks):
        assert digest_chunks(chunks) == digest_chunks([b"".join(chunks)])
