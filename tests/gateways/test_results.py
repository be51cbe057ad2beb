"""Results, and how they are judged."""

import dataclasses
import json

import pytest

from django_idempotency import gateways
from django_idempotency.gateways import (
    ActionRequired,
    Approved,
    Cancelled,
    Declined,
    Failed,
    NoMoneyMoved,
    Pending,
    Result,
    Unknown,
)
from django_idempotency.gateways.amounts import Money
from django_idempotency.gateways.answers import Told, judged, only

ASKED = Money(amount=1000, currency="EUR")
TOLD = Told(status="ok", reference="ref", amount=1000, currency="EUR", reason="why", action={"url": "/"})
FACTS = {"reference": "ref", "amount": 1000, "currency": "EUR", "reason": "why"}
RESULTS = [
    Approved(**FACTS),
    Declined(**FACTS),
    Pending(**FACTS),
    ActionRequired(**FACTS, action={"url": "/"}),
    Cancelled(**FACTS),
    NoMoneyMoved(**FACTS),
    Failed(**FACTS, retryable=True),
    Unknown(**FACTS),
]


class TestJSON:
    @pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.status)
    def test_a_result_comes_back_from_json_as_it_was(self, result):
        assert Result.from_json(json.loads(json.dumps(result.as_json()))) == result

    def test_the_class_is_its_status(self):
        assert Declined(reason="insufficient_funds").as_json() == {
            "status": "declined",
            "reference": None,
            "amount": None,
            "currency": None,
            "reason": "insufficient_funds",
            "retryable": False,
        }

    def test_a_status_of_nobody_is_refused(self):
        with pytest.raises(ValueError, match="'paid' is not the status"):
            Result.from_json({"status": "paid"})

    def test_no_two_classes_share_a_status(self):
        assert len({result.status for result in RESULTS}) == len(RESULTS)

    def test_a_result_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            RESULTS[1].reason = "other"

    def test_an_approval_names_what_was_approved(self):
        with pytest.raises(TypeError):
            Approved(reference="ref")


class TestJudging:
    @pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.status)
    def test_a_known_word_becomes_its_class(self, result):
        expected = dataclasses.replace(result, retryable=False)
        assert judged(TOLD, ASKED, {"ok": type(result)}) == expected

    def test_a_word_that_is_not_known_is_unknown(self):
        assert judged(TOLD, ASKED, {}) == Unknown(**{**FACTS, "reason": "status 'ok'"})

    @pytest.mark.parametrize("kind", [Approved, Pending, ActionRequired])
    @pytest.mark.parametrize("other", [{"amount": 999}, {"amount": 1001}, {"currency": "USD"}, {"currency": "eur"}])
    def test_money_that_differs_from_what_was_asked_is_unknown(self, kind, other):
        result = judged(dataclasses.replace(TOLD, **other), ASKED, {"ok": kind})
        assert (type(result), result.reference) == (Unknown, "ref")
        assert result.reason.startswith("asked for 1000 EUR, told")

    def test_an_approval_that_tells_no_amount_is_unknown(self):
        told = dataclasses.replace(TOLD, amount=None, currency=None)
        assert type(judged(told, ASKED, {"ok": Approved})) is Unknown

    def test_an_approval_without_a_reference_is_unknown(self):
        assert type(judged(dataclasses.replace(TOLD, reference=None), ASKED, {"ok": Approved})) is Unknown

    @pytest.mark.parametrize("kind", [Pending, ActionRequired])
    def test_what_is_not_decided_yet_need_not_tell_an_amount(self, kind):
        told = dataclasses.replace(TOLD, amount=None, currency=None)
        assert type(judged(told, ASKED, {"ok": kind})) is kind

    def test_a_decline_of_another_amount_is_a_decline(self):
        assert type(judged(dataclasses.replace(TOLD, amount=1), ASKED, {"ok": Declined})) is Declined

    def test_two_entries_under_one_key_are_not_chosen_from(self):
        assert (only([]), only([1])) == (None, 1)
        with pytest.raises(ValueError, match="2 entries"):
            only([1, 2])


def test_all_is_sorted_and_there():
    assert gateways.__all__ == sorted(gateways.__all__)
    assert [name for name in gateways.__all__ if not hasattr(gateways, name)] == []
