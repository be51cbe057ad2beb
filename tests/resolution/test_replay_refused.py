"""The payload that a mismatch has refused, run as a request of its own: under one fresh key, once."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models.query import QuerySet
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.audit import record_event
from django_idempotency.models import IdempotencyEvent, IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import Moved, NotSent, StillRunning, TooLate, WrongState
from tests.resolution.people import BOB, UPDATE_OF_INCIDENT, events, just_before
from tests.resolution.retries import SAID, failed, incident, mismatched, payments, post, replay
from tests.resolution.shop import TILL
from tests.support.threads import Stage, elsewhere, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]


def run_refused(number, **said):
    return resolution.run_refused(number, **{**SAID, **said})


def reference():
    return incident("mismatch").reference


def test_it_runs_under_a_key_of_its_own_as_the_same_principal(buyer, user):
    answer = run_refused(mismatched(buyer))
    assert (answer.status, answer.ran, answer.kept) == (201, True, True)
    assert payments() == [("k", 5), (reference(), 6)]
    assert str(uuid.UUID(reference())) == reference()
    assert TILL.seen == [{"user": user.pk, "by": "ada", "dry": False, "auth": None}]


def test_the_decision_closes_the_incident(buyer, heard):
    run_refused(mismatched(buyer))
    found = incident("mismatch")
    assert (found.decision, bool(found.healed_at)) == ("run-refused", True)
    assert events() == ["run-refused", "run-refused-ended"]
    assert [said["how"] for said in heard] == ["run-refused"]


def test_a_second_click_gets_the_answer_of_the_first(buyer):
    number = mismatched(buyer)
    first, second = run_refused(number), run_refused(number)
    assert (second.ran, second.body) == (False, first.body)
    assert len(payments()) == 2


def test_of_two_members_of_staff_one_is_told(buyer):
    number = mismatched(buyer)
    with (
        just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(lambda: run_refused(number, actor=BOB))),
        pytest.raises(Moved),
    ):
        run_refused(number)
    assert len(payments()) == 2


@pytest.mark.usefixtures("nobody_waits")
def test_while_it_runs_another_one_is_told(buyer):
    stage, number = Stage(), mismatched(buyer)
    TILL.does = lambda: stage.enter() or 201
    with running(lambda: run_refused(number, actor=BOB), stage), pytest.raises((Moved, StillRunning)):
        run_refused(number)
    assert len(payments()) == 2


def test_who_has_not_seen_that_another_one_has_begun_is_told(buyer):
    """His key is not the one that it has been given: nothing but the audit tells, while the first one runs."""
    number = mismatched(buyer)

    def begin():
        record_event(
            BOB, "run-refused", record_id=incident("mismatch").record_id, incident_id=number, after={"key": "x"}
        )

    with just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(begin)), pytest.raises(Moved):
        run_refused(number)
    assert len(payments()) == 1


def test_once_run_it_keeps_its_key_whatever_is_decided_later(buyer):
    number = mismatched(buyer)
    run_refused(number)
    resolution.reopen(number, **SAID)
    assert not run_refused(number).ran
    assert len(payments()) == 2


def test_one_that_fails_can_be_run_again_under_the_same_key(buyer):
    number = mismatched(buyer)
    TILL.breaks()
    assert run_refused(number).status == 500
    TILL.works()
    assert replay(incident().pk).kept
    assert not run_refused(number).ran
    assert payments() == [("k", 5), (reference(), 6)]


def test_one_that_has_not_come_to_its_view_is_as_open_as_before(buyer, settings):
    number = mismatched(buyer)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.resolution.test_replays.everybody_waits"]
    with pytest.raises(NotSent, match="answered 503"):
        run_refused(number)
    assert events() == ["run-refused", "run-refused-ended"]
    assert (incident("mismatch").decision, incident("mismatch").healed_at, len(payments())) == ("", None, 1)


def test_it_is_not_run_again_once_its_key_may_be_forgotten(buyer):
    number = mismatched(buyer)
    run_refused(number)
    IdempotencyRecord.objects.all().delete()
    QuerySet.update(IdempotencyEvent.objects.all(), at=timezone.now() - timedelta(days=33))
    with pytest.raises(TooLate):
        run_refused(number)
    assert len(payments()) == 2


def test_what_was_decided_otherwise_is_refused(buyer):
    number = mismatched(buyer)
    resolution.original_stands(number, counter=1, **SAID)
    with pytest.raises(WrongState, match="closed already"):
        run_refused(number)
    assert len(payments()) == 1


def test_what_has_come_again_since_it_was_shown_is_refused(buyer):
    number = mismatched(buyer)
    IdempotencyIncident.objects.update(counter=3)
    with pytest.raises(Moved):
        run_refused(number, seen=1)
    assert run_refused(number, seen=3).kept


def test_a_failure_is_no_mismatch(buyer):
    with pytest.raises(WrongState, match="another way"):
        run_refused(failed(buyer))


def test_a_masked_payload_is_refused(buyer):
    number = mismatched(buyer)
    IdempotencyIncident.objects.update(request_whole=False)
    with pytest.raises(WrongState, match="masked"):
        run_refused(number)
    assert reference() == ""


def test_another_principal_is_refused_before_anything_is_claimed(buyer, settings):
    number, other = mismatched(buyer), User.objects.create_user("bob")
    settings.IDEMPOTENCY = {"default": {"PRINCIPAL": lambda scope: other}}
    with pytest.raises(NotSent, match="another client"):
        run_refused(number)
    assert len(payments()) == 1


def test_a_view_that_takes_its_key_from_the_request_is_refused(buyer):
    number = mismatched(buyer)
    IdempotencyIncident.objects.update(path="/delivered")
    with pytest.raises(WrongState, match="takes the key from the request"):
        run_refused(number)
    assert reference() == ""


def test_what_was_settled_outside_is_not_run_when_the_client_repeats_it(buyer):
    number = mismatched(buyer)
    resolution.settled_outside(number, counter=1, reference="SEPA 99", **SAID)
    assert post(buyer, data={"amount": 6}).status_code == 422
    told = incident("mismatch")
    assert (told.counter, told.healed_at is not None, told.decision, told.reference) == (
        2,
        True,
        "settled-outside",
        "SEPA 99",
    )
    with pytest.raises(WrongState):
        resolution.run_refused(number, **SAID)
    assert [amount for _, amount in payments()] == [5]
