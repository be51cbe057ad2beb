"""What two payloads differ in: plain functions, without a database."""

import json
import time

import pytest

from django_idempotency import differences
from django_idempotency.differences import LONGEST, ROWS, Change, compared
from django_idempotency.payloads import data_of

FORM = "application/x-www-form-urlencoded"


def told(first, other, **options):
    """By pointer, how it differs and what it is in each."""
    found = compared(first, other, **options)
    return {one.pointer: (one.change.value, one.first, one.other) for one in found.fields}


def parsed(text, kind="application/json", **options):
    return data_of(text.encode(), "", kind, **options)


def test_each_field_that_differs_is_told_under_its_pointer():
    first = {"amount": "12.00", "items": [{"sku": "a"}, {"sku": "b"}], "note": "x"}
    other = {"amount": "21.00", "items": [{"sku": "a"}, {"sku": "c"}, {"sku": "d"}]}
    assert told(first, other) == {
        "/amount": ("changed", '"12.00"', '"21.00"'),
        "/items/1/sku": ("changed", '"b"', '"c"'),
        "/items/2/sku": ("other-only", "", '"d"'),
        "/note": ("first-only", '"x"', ""),
    }


def test_what_is_the_same_is_counted_and_told_on_demand():
    first, other = {"a": 1, "b": [True, None]}, {"a": 1, "b": [True, None], "c": 2}
    assert compared(first, other).same == 3
    assert set(told(first, other)) == {"/c"}
    assert told(first, other, everything=True)["/b/1"] == ("same", "null", "null")


def test_names_are_written_as_pointers_write_them():
    assert set(told({"a/b": {"c~d": 1}}, {"a/b": {"c~d": 2}})) == {"/a~1b/c~0d"}


@pytest.mark.parametrize(
    ("first", "other"),
    [("1", "true"), ("0", "false"), ('"1"', "1"), ("1.0", "1"), ("1.10", "1.1"), ("null", '""'), ("{}", "[]")],
)
def test_values_of_different_types_and_digits_are_not_the_same(first, other):
    wrapped = (parsed(f'{{"a": {text}}}') for text in (first, other))
    assert told(*wrapped) == {"/a": ("changed", first, other)}


def test_empty_ones_and_what_came_into_them():
    assert told({"a": {}, "b": []}, {"a": {"x": 1}, "b": []}, everything=True) == {
        "/a/x": ("other-only", "", "1"),
        "/b": ("same", "[]", "[]"),
    }
    assert told({"a": {}}, {}) == {"/a": ("first-only", "{}", "")}


def test_of_different_kinds_the_whole_is_told():
    assert told([1], {"a": 1}) == {"": ("changed", "[1]", '{"a":1}')}


@pytest.mark.parametrize("secret", ["password", "card", "cvv"])
def test_what_is_masked_in_both_is_not_said_to_be_the_same(secret):
    numbers = {"password": ("a", "b"), "card": ("4111111111111111", "5500005555551111"), "cvv": ("123", "456")}
    first, other = (parsed(json.dumps({secret: value})) for value in numbers[secret])
    found = compared(first, other)
    assert [one.change for one in found.fields] == [Change.HIDDEN]
    assert found.same == 0


def test_the_fields_of_forms_are_compared():
    first, other = parsed("amount=12&tag=a&tag=b&pin=1", FORM), parsed("amount=21&tag=a&tag=b&pin=2", FORM)
    assert set(told(first, other)) == {"/amount", "/pin"}
    assert told(first, other)["/pin"][0] == "hidden"
    clear = (parsed(f"pin={pin}", FORM, clear=True) for pin in (1, 2))
    assert told(*clear) == {"/pin": ("changed", '"1"', '"2"')}


@pytest.mark.parametrize("body", [b"\xff\xfe", b"<xml/>", b"plain", b'"text"', b"[1", b'{"a":' * 100_000])
def test_what_is_neither_json_nor_a_form_is_not_compared(body):
    assert data_of(body, "", "application/json") is None


class TestHostile:
    def test_nothing_of_a_megabyte_takes_long_or_says_much(self):
        first, other = (json.dumps([number] * 300_000) for number in (1, 2))
        began = time.perf_counter()
        found = compared(parsed(first), parsed(other))
        assert time.perf_counter() - began < 5
        assert (len(found.fields), found.more) == (ROWS, True)

    def test_no_more_is_looked_at_than_is_said(self, monkeypatch):
        monkeypatch.setattr(differences, "LOOKED_AT", 10)
        assert compared([1] * 10, [1] * 10).more is False
        found = compared([1] * 10 + [2], [1] * 10 + [3])
        assert (found.same, found.fields, found.more) == (10, [], True)

    def test_as_deep_as_a_parser_goes(self):
        deep = '{"a":' * 400
        found = compared(parsed(f"{deep}1{'}' * 400}"), parsed(f"{deep}2{'}' * 400}"))
        assert [(one.first, one.other) for one in found.fields] == [("1", "2")]
        assert len(found.fields[0].pointer) == LONGEST + 1

    def test_deep_ones_in_one_place_are_no_error(self):
        deep = current = []
        for _ in range(50_000):
            current.append([])
            current = current[0]
        assert told([deep], [1])["/0"] == ("changed", "…", "1")

    def test_long_values_and_names_are_cut(self):
        found = compared({"n" * 10_000: "a" * 10_000}, {"n" * 10_000: "b"}).fields[0]
        assert len(found.pointer) == len(found.first) == LONGEST + 1

    def test_nothing_turns_the_direction_of_reading(self):
        assert told({"\u202ea": "\u202eb"}, {"\u202ea": "c"}) == {"/\\u202ea": ("changed", '"\\u202eb"', '"c"')}
