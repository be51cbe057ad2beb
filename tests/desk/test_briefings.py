"""What the page of an incident says of the money: nothing that is not known, whatever has become of the key since."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from django_idempotency.briefings import briefing
from django_idempotency.core.journal import NEVER
from django_idempotency.models import IdempotencyIncident
from django_idempotency.timelines import told as told_of
from tests.desk.situations import DAY, HOUR, answered, incident
from tests.support.records import stored

pytestmark = pytest.mark.django_db

Kind = IdempotencyIncident.Kind
MONEY = {"amount": Decimal(12), "currency": "EUR"}


def gone(record):
    record.delete()


class TestFailures:
    def test_while_its_key_is_free_nothing_was_booked(self):
        found = incident(record := answered(HOUR), Kind.FAILED, error="GatewayTimeout")
        gone(record)
        assert briefing(found, None).means.startswith("12.00 EUR was not booked here.")

    @pytest.mark.parametrize("kind", [Kind.FAILED, Kind.ABANDONED])
    def test_once_the_key_was_answered_that_answer_tells(self, kind):
        """The client has tried again, and the incident waits for upkeep to close it: whoever books it now books it twice."""
        told = briefing(incident(record := answered(HOUR), kind), record)
        assert "not booked" not in told.means
        assert told.means == "Its key has been answered since: what was booked of 12.00 EUR, that answer says."
        assert told.advice == "Look at that answer. There is nothing to run again; upkeep closes this."

    def test_while_it_is_tried_again_nobody_knows(self):
        record = stored("processing", **MONEY)
        told = briefing(incident(record, Kind.FAILED), record)
        assert told.means == "It is being tried again: what becomes of 12.00 EUR is not known yet."
        assert "run it again" not in told.advice

    def test_of_an_unknown_outcome_neither(self):
        record = stored("unknown", **MONEY)
        assert "may have been taken, or not" in briefing(incident(record, Kind.FAILED), record).means

    def test_nor_once_its_key_may_be_forgotten(self):
        found = incident(record := answered(HOUR), Kind.FAILED, last_seen=timezone.now() - 40 * DAY)
        gone(record)
        told = briefing(found, None)
        assert "not booked" not in told.means
        assert "may have been used since, and be forgotten again" in told.happened

    def test_forgotten_as_the_rules_of_its_namespace_say(self, settings):
        settings.IDEMPOTENCY = {"default": {"RETENTION": timedelta(minutes=10), "TOMBSTONE": timedelta(0)}}
        found = incident(record := answered(HOUR), Kind.FAILED)
        gone(record)
        assert "not booked" not in briefing(found, None).means


class TestMismatches:
    def test_what_was_let_in_since_is_not_said_to_have_done_nothing(self):
        record = answered(HOUR)
        found = incident(record, Kind.MISMATCH, request_fingerprint=bytes(record.fingerprint).hex())
        told = briefing(found, record)
        assert "nothing was done" not in told.means
        assert "came again and was let in: Answered 201 after" in told.happened
        assert told.means == "For the other one, over 12.00 EUR, that answer says what was booked."

    def test_nor_is_what_was_run_under_a_key_of_its_own(self):
        found = incident(record := answered(HOUR), Kind.MISMATCH, amount=Decimal(21))
        told = briefing(found, record, begun=True)
        assert "no money has moved" not in told.means
        assert "staff has begun to run it under a key of its own: what has come of it, the history says." in told.means

    def test_whoever_wants_to_run_it_is_told_what_clients_do(self):
        found = incident(record := answered(HOUR), Kind.MISMATCH, amount=Decimal(21))
        assert "has not come again under another key" in briefing(found, record).advice

    def test_several_that_were_refused_may_differ(self):
        found = incident(record := answered(HOUR), Kind.MISMATCH, counter=3)
        assert (
            "refused, 3 times by now. Here is the first; what came later may differ."
            in briefing(found, record).happened
        )


class TestClosed:
    def test_what_a_person_has_recorded_has_not_closed_by_itself(self):
        found = incident(record := answered(HOUR), Kind.UNKNOWN, healed_at=timezone.now())
        assert briefing(found, record).means == "A person has recorded what became of it, or has let it go on."

    def test_what_was_answered_since_is_said_to_be(self):
        found = incident(record := answered(HOUR), Kind.FAILED, healed_at=timezone.now())
        assert briefing(found, record).means == "Its key has been answered since."


class TestOperationsThatWait:
    def waiting(self, resume_at):
        of_lease = {"lease_until": timezone.now() - HOUR, "resume_at": resume_at}
        return stored("processing", operation="shop.pay", token=1, claimed_at=2 * HOUR, **of_lease)

    def test_one_that_goes_on_later_is_not_said_to_be_lost(self):
        said = told_of(self.waiting(timezone.now() + timedelta(minutes=30, seconds=5)))
        assert said == "Claimed 2 h ago, and put off: upkeep may go on with it in 30 min."

    def test_nor_is_one_that_was_refused_before_it_had_done_anything(self):
        said = told_of(self.waiting(NEVER))
        assert said == "Claimed 2 h ago, and refused before anything was done: only its client can send it again."

    def test_one_of_which_nobody_has_heard_is(self):
        assert "has not been heard of for 1 h" in told_of(self.waiting(None))
        assert "has not been heard of for 1 h" in told_of(self.waiting(timezone.now() - HOUR))
