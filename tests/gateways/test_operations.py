"""Durable operations over adapters: whatever the gateway does, one charge for each key, or a question to a person."""

import uuid

import pytest

from django_idempotency import Respond, operation
from django_idempotency.exceptions import OutcomeUnknown, RetryLater
from django_idempotency.gateways import Journaled
from django_idempotency.gateways.fake import Fault, Kind

pytestmark = pytest.mark.django_db(transaction=True)

MONEY = {"amount": 1250, "currency": "EUR"}


@pytest.fixture
def pay(gateway):
    """An operation that charges, and its call under one key."""
    journaled = Journaled(gateway)

    @operation(name=f"tests.gateways.pay.{uuid.uuid4()}")
    def charge_card(op, *, amount, currency):
        charge = op.remote(journaled.charge, lookup=journaled.find, amount=amount, currency=currency)
        return Respond(201 if charge["status"] == "approved" else 402, charge)

    return lambda: charge_card.run(key="k", scope="shop", **MONEY)


def test_a_charge_is_made_once_and_its_answer_kept(fake, pay):
    first, again = pay(), pay()
    assert (first.status, first.data["reference"]) == (201, "ch_1")
    assert again.data == first.data
    assert len(fake.charges) == 1


UNSURE = [Kind.LOST, Kind.ERROR_AFTER, Kind.UNKNOWN_STATUS, Kind.DRIP, Kind.CUT, Kind.ERROR_BEFORE, Kind.LATE]


@pytest.mark.parametrize("kind", UNSURE)
def test_what_nobody_knew_is_looked_up_or_sent_again_under_its_key(fake, pay, kind):
    fake.faults.set([Fault(kind=kind, times=1, seconds=10)])
    with pytest.raises((OutcomeUnknown, RetryLater)):
        pay()
    assert pay().data["status"] == "approved"
    assert [entry["amount"] for entry in fake.charges] == [1250]


def test_a_look_up_that_is_down_is_not_taken_for_nothing(fake, pay):
    fake.faults.set([Fault(kind=Kind.LOST, times=1), Fault(kind=Kind.LOOKUP_DOWN, times=1)])
    for _ in range(2):
        with pytest.raises((OutcomeUnknown, RetryLater)):
            pay()
    assert pay().data["reference"] == "ch_1"
    assert len(fake.charges) == 1


def test_a_wrong_amount_stays_unknown(fake, pay):
    fake.faults.set([Fault(kind=Kind.WRONG_AMOUNT, times=1)])
    for _ in range(3):
        with pytest.raises((OutcomeUnknown, RetryLater)):
            pay()
    assert len(fake.charges) == 1
