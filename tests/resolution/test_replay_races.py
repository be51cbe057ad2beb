"""A replay of what is there still, and beside somebody else's: the client's retry, another member of staff's, upkeep's."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from django_idempotency.models import IdempotencyRecord
from django_idempotency.resolution import Moved, NotSent, StillRunning, TooLate, WrongState
from tests.resolution.people import BOB, UPDATE_OF_INCIDENT, events, just_before
from tests.resolution.retries import failed, incident, last_event, payments, post, replay
from tests.resolution.shop import TILL
from tests.support.records import HOUR
from tests.support.threads import Stage, elsewhere, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]

OF_REQUEST = ("namespace", "scope", "key", "method", "path", "request_headers", "request_body", "request_whole")


def left(buyer: Client, **columns: Any) -> IdempotencyRecord:
    """Return the record of a request whose process has died in the view."""
    failed(buyer)
    found = incident()
    died = {"state": "processing", "claim": 5, "token": 0, "claimed_at": timezone.now() - timedelta(minutes=1)}
    identity = {"id": found.record_id, "fingerprint": bytes.fromhex(found.fingerprint)}
    columns = {**{name: getattr(found, name) for name in OF_REQUEST}, **died, **identity, **columns}
    found.delete()
    return IdempotencyRecord.objects.create(**columns)


class TestUnfinished:
    def test_a_request_whose_owner_has_died_is_taken_over(self, buyer):
        record = left(buyer)
        if connection.vendor == "sqlite":
            # No claim is ever seen there, and so none is taken over.
            with pytest.raises(StillRunning):
                replay(record.pk, seen=5)
            return
        assert replay(record.pk, seen=5).kept
        assert payments() == [("k", 5)]

    @pytest.mark.parametrize(
        ("columns", "kind", "match"),
        [
            ({"state": "unknown"}, WrongState, "Record the outcome"),
            ({"token": 1}, WrongState, "Nobody knows"),
            ({"operation": "tests.pay"}, WrongState, "durable operation"),
            ({"lease_until": timezone.now() + HOUR}, StillRunning, "at work"),
            ({"lease_until": timezone.now() - HOUR}, WrongState, "Nobody knows"),
            ({"claimed_at": timezone.now() + HOUR}, StillRunning, "at work"),
            ({"claimed_at": timezone.now() - timedelta(days=33)}, TooLate, "too old"),
            ({"claim": 6}, Moved, "has been changed"),
        ],
    )
    def test_what_nobody_knows_the_outcome_of_is_not_run(self, buyer, columns, kind, match):
        record = left(buyer, **columns)
        with pytest.raises(kind, match=match):
            replay(record.pk, seen=5)
        assert (TILL.seen, events()) == ([], [])

    @pytest.mark.parametrize("state", ["processing", "unknown"])
    def test_a_failure_whose_key_is_in_use_again_is_not_run(self, buyer, state):
        number = failed(buyer)
        IdempotencyRecord.objects.create(
            **{name: getattr(incident(), name) for name in OF_REQUEST},
            id=incident().record_id,
            fingerprint=b"",
            state=state,
            claim=6,
            claimed_at=timezone.now(),
        )
        with pytest.raises((StillRunning, WrongState)):
            replay(number)
        assert (TILL.seen, events()) == ([], [])


@pytest.mark.usefixtures("nobody_waits")
class TestRaces:
    def test_the_clients_retry_during_a_replay_is_told_to_wait_and_then_gets_its_answer(self, buyer):
        stage, number = Stage(), failed(buyer)
        TILL.does = lambda: stage.enter() or 201
        with running(lambda: replay(number), stage) as ours:
            assert post(buyer).status_code == 409
        assert ours.result().kept
        assert post(buyer)["Idempotent-Replayed"] == "true"
        assert payments() == [("k", 5)]

    def test_a_replay_during_the_clients_retry_is_refused(self, buyer):
        stage, number = Stage(), failed(buyer)
        TILL.does = lambda: stage.enter() or 201
        with running(lambda: post(buyer), stage), pytest.raises((StillRunning, Moved)):
            replay(number)
        with pytest.raises(WrongState, match="has completed"):
            replay(number)
        assert payments() == [("k", 5)]

    def test_of_two_members_of_staff_one_is_told(self, buyer):
        stage, number = Stage(), failed(buyer)
        TILL.does = lambda: stage.enter() or 201
        with running(lambda: replay(number), stage) as first, pytest.raises((StillRunning, Moved)):
            replay(number, actor=BOB)
        assert first.result().kept
        assert payments() == [("k", 5)]

    def test_a_retry_that_completes_at_that_moment_is_not_run_again(self, buyer):
        number = failed(buyer)
        with just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(lambda: post(buyer))):
            answer = replay(number)
        assert (answer.status, answer.ran, answer.kept) == (201, False, True)
        assert incident().healed_at
        assert last_event()["ran"] is False
        assert payments() == [("k", 5)]

    def test_one_that_fails_at_that_moment_is_not_as_it_was_seen(self, buyer):
        number = failed(buyer)
        with just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(lambda: failed(buyer))), pytest.raises(Moved):
            replay(number)
        assert (TILL.seen, events()) == ([], [])

    def test_another_request_that_completes_under_the_key_is_not_undone(self, buyer):
        number = failed(buyer)
        other = {"amount": 6}
        with (
            just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(lambda: post(buyer, data=other))),
            pytest.raises(NotSent, match="another request"),
        ):
            replay(number)
        assert payments() == [("k", 6)]

    def test_a_record_that_is_completed_at_that_moment_is_left_alone(self, buyer):
        record = left(buyer)

        def complete() -> None:
            IdempotencyRecord.objects.update(state="completed", token=1, status=201, body=b"paid")

        with just_before(r"SELECT .*request_headers", lambda: elsewhere(complete)), pytest.raises(Moved):
            replay(record.pk)
        assert (TILL.seen, events()) == ([], [])
