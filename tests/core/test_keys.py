"""How a key is read, what it identifies, and what is derived from it."""

import string
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_idempotency.core.keys import derive, length_prefixed, parse_key, record_id
from django_idempotency.exceptions import KeyInvalid

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
BARE = "".join(set(PRINTABLE) - set(' ,"'))
UUID = "8e03978e-40d5-43e8-bc93-6894a57f9324"
bare_keys = st.text(BARE, min_size=1, max_size=255)
keys = st.text(PRINTABLE, min_size=1, max_size=255)


def quoted(key):
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


class TestProperties:
    @given(keys)
    def test_every_printable_key_is_read_from_its_quoted_form(self, key):
        assert parse_key(quoted(key)) == key
        assert parse_key(quoted(key), strict=True) == key

    @given(bare_keys)
    def test_the_bare_and_the_quoted_form_are_the_same_key(self, key):
        assert parse_key(key) == parse_key(quoted(key)) == key

    @given(st.text(max_size=300))
    def test_any_header_is_a_printable_key_or_invalid(self, header):
        with suppress(KeyInvalid):
            key = parse_key(header)
            assert 1 <= len(key) <= 255
            assert set(key) <= set(PRINTABLE)

    @given(st.text(max_size=300))
    def test_a_header_that_is_not_quoted_is_its_own_key_or_invalid(self, header):
        if not header.lstrip(" ").startswith('"'):
            try:
                assert parse_key(header) == header
            except KeyInvalid:
                assert not header or len(header) > 255 or set(header) - set(BARE)

    @given(bare_keys)
    def test_strict_takes_no_bare_key(self, key):
        with pytest.raises(KeyInvalid):
            parse_key(key, strict=True)


class TestRefusals:
    @pytest.mark.parametrize(
        "header",
        [
            "",
            " ",
            '""',
            '"',
            '"abc',
            'abc"',
            'a"b',
            '"a" "b"',
            '"a", "b"',
            "a,b",
            "a, b",
            "a b",
            " a",
            "a ",
            '"a\\b"',
            '"caf\u00e9"',
            "caf\u00e9",
            "a\x00b",
            '"a\x00b"',
            "a\x7f",
            "a\tb",
            '"a\tb"',
            "\ud800",
            '"\ud800"',
            '"a"; =1',
        ],
    )
    def test_a_malformed_header_is_invalid(self, header):
        with pytest.raises(KeyInvalid):
            parse_key(header)

    @pytest.mark.parametrize("form", [str, quoted])
    def test_the_longest_key_has_255_characters(self, form):
        assert parse_key(form("k" * 255)) == "k" * 255
        with pytest.raises(KeyInvalid, match="this one has 256"):
            parse_key(form("k" * 256))

    def test_escapes_are_not_counted(self):
        assert parse_key(quoted('"' * 255)) == '"' * 255

    def test_a_key_may_have_to_have_a_minimum_length(self):
        assert parse_key("12345678", min_length=8) == "12345678"
        with pytest.raises(KeyInvalid, match="has 8 to 255 characters, this one has 7"):
            parse_key("1234567", min_length=8)

    def test_spaces_round_a_quoted_key_do_not_count(self):
        assert parse_key('  "abc" ') == "abc"

    def test_parameters_of_a_quoted_key_are_left_out(self):
        assert parse_key('"abc"; origin="mobile"') == "abc"


class TestUuidKeys:
    @given(st.uuids())
    def test_every_uuid_is_taken_in_both_cases_and_forms(self, value):
        for key in (str(value), str(value).upper()):
            assert parse_key(key, uuid_only=True) == parse_key(quoted(key), uuid_only=True) == key

    @pytest.mark.parametrize("key", ["abc", UUID.replace("-", ""), f"{{{UUID}}}", f"{UUID}0", f"urn:{UUID}"])
    def test_anything_else_is_refused(self, key):
        with pytest.raises(KeyInvalid, match="must be a UUID"):
            parse_key(key, uuid_only=True)


class TestRecordId:
    texts = st.text(string.ascii_letters + string.digits + ":|/é", max_size=8)

    @given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
    def test_ids_are_equal_only_where_namespace_scope_and_key_are(self, one, other):
        assert (record_id(*one) == record_id(*other)) == (one == other)

    def test_letters_are_told_apart_by_case(self):
        assert record_id("default", "user:1", "Key") != record_id("default", "user:1", "key")

    def test_it_has_the_version_that_every_database_takes(self):
        found = record_id("default", "user:1", "abc")
        assert (found.version, found.variant) == (5, uuid.RFC_4122)

    def test_it_does_not_change_from_release_to_release(self):
        """A retry in flight over a deploy must find its record."""
        assert str(record_id("default", "user:1", "abc")) == "68f65cce-ed3c-54cb-97f4-50cc5ba917c1"

    @given(st.lists(st.binary(max_size=12)), st.lists(st.binary(max_size=12)))
    def test_length_prefixed_parts_are_equal_only_where_each_part_is(self, one, other):
        assert (length_prefixed(one) == length_prefixed(other)) == (one == other)


class TestDerive:
    record = record_id("default", "user:1", "abc")

    def test_a_step_has_one_uuid_of_36_characters(self):
        assert derive(self.record, "charge") == derive(self.record, "charge")
        assert len(derive(self.record, "charge")) == 36

    def test_another_step_and_another_record_have_another(self):
        other = record_id("default", "user:2", "abc")
        assert len({derive(self.record, "charge"), derive(self.record, "refund"), derive(other, "charge")}) == 3

    def test_it_does_not_change_from_release_to_release(self):
        """The gateway would take a new one for a new payment."""
        assert derive(self.record, "charge") == "4a914019-20f7-5395-a499-0dc78c697ac9"
