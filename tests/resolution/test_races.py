"""
Each act against a record, or an incident, that changes at the very moment; and two members of staff at one.

The other one's change is committed just before the statement by which the act takes hold of the row:

    staff     reads the record, and decides
    other                                    changes it, commits
    staff                                                        takes hold: it is not as it was seen, nothing is done
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import close_old_connections, connection
from django.db.models import F
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from django_idempotency.resolution import ACTS, Act, Actor, Moved, NotResolved
from django_idempotency.verification import verify
from tests.resolution.people import (
    ADA,
    BOB,
    READ_OF_RECORD,
    UPDATE_OF_INCIDENT,
    UPDATE_OF_RECORD,
    events,
    just_before,
)
from tests.resolution.test_incidents import DECISIONS, incident
from tests.support.records import stored
from tests.support.threads import PATIENCE, elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

EVIDENCE = {"evidence": "ledger, line 7"}
OF_UNKNOWN: dict[Act, dict[str, Any]] = {
    Act.APPROVED: {"reference": "ch_7", "amount": 1, "currency": "EUR", **EVIDENCE},
    Act.DECLINED: {"refusal": "no money", **EVIDENCE},
    Act.RETURNED: {"result": 7, **EVIDENCE},
    Act.GO_ON: EVIDENCE,
    Act.HAPPENED: {"status": 201, "body": "{}", "reference": "payment 7", **EVIDENCE},
    Act.NEVER_HAPPENED: EVIDENCE,
}
COMPLETED = {"state": "completed", "token": F("token") + 1, "status": 201, "body": b"paid"}


def complete() -> None:
    IdempotencyRecord.objects.update(**COMPLETED, claim=77)


def assert_left_as_it_is() -> None:
    record = IdempotencyRecord.objects.get()
    assert (record.state, record.status, bytes(record.body)) == ("completed", 201, b"paid")
    assert events() == []


class TestAgainstACompletion:
    @pytest.mark.parametrize("act", OF_UNKNOWN)
    def test_what_is_no_longer_unknown_is_left_alone(self, act: Act) -> None:
        of_view = act in (Act.HAPPENED, Act.NEVER_HAPPENED)
        found = stored("unknown", operation="" if of_view else "tests.resolved", claimed_at=timedelta(days=2))
        with just_before(UPDATE_OF_RECORD, lambda: elsewhere(complete)), pytest.raises(Moved):
            ACTS[act](found.pk, **OF_UNKNOWN[act], actor=ADA)
        assert_left_as_it_is()

    @pytest.mark.parametrize(
        "change", [COMPLETED, {"claim": 77}, {"token": 1}, {"lease_until": timezone.now(), "token": 1}]
    )
    def test_what_is_no_longer_in_flight_is_not_released(self, change: dict[str, Any]) -> None:
        found = stored("processing")
        with (
            just_before(READ_OF_RECORD, lambda: elsewhere(lambda: IdempotencyRecord.objects.update(**change))),
            pytest.raises(NotResolved),
        ):
            resolution.release(found.pk, claim=found.claim, reason="dead", actor=ADA)
        assert IdempotencyRecord.objects.exists()
        assert events() == []
        assert not IdempotencyIncident.objects.exists()

    @pytest.mark.parametrize("change", [{"counter": F("counter") + 1}, {"healed_at": timezone.now()}])
    @pytest.mark.parametrize(("name", "act", "given", "kind"), DECISIONS)
    def test_an_incident_that_moves_is_left_alone(
        self, name: str, act: Any, given: dict[str, str], kind: str, change: dict[str, Any]
    ) -> None:
        found = incident(kind)
        moves = lambda: elsewhere(lambda: IdempotencyIncident.objects.update(**change))  # noqa: E731
        with just_before(UPDATE_OF_INCIDENT, moves), pytest.raises(Moved):
            act(found.pk, counter=3, **given, reason="no", actor=ADA)
        assert (IdempotencyIncident.objects.get().decision, events()) == ("", [])


def at_once(*calls: Callable[[], Any]) -> list[str]:
    """What each of several, let go at the same moment, comes to: nothing, or the class of its refusal."""
    start, outcomes = threading.Barrier(len(calls)), []

    def run(call: Callable[[], Any]) -> None:
        start.wait(PATIENCE)
        try:
            call()
            outcomes.append("done")
        except NotResolved as exc:
            outcomes.append(type(exc).__name__)
        finally:
            close_old_connections()
            connection.close()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    return sorted(outcomes)


class TestTwoMembersOfStaff:
    """One wins, and the other one is told: whoever is first, and however close they are."""

    ROUNDS = 5

    def refused(self, outcomes: list[str]) -> None:
        assert outcomes.count("done") == 1
        assert set(outcomes) <= {"done", "Moved", "WrongState", "StillRunning", "NotFound"}
        assert len(outcomes) == 2

    def test_one_record_is_released_once(self) -> None:
        for _ in range(self.ROUNDS):
            found = stored("processing")
            self.refused(at_once(*(self.releasing(found, actor) for actor in (ADA, BOB))))
        assert events() == ["release"] * self.ROUNDS
        assert IdempotencyIncident.objects.count() == self.ROUNDS

    def releasing(self, found: IdempotencyRecord, actor: Actor) -> Callable[[], None]:
        return lambda: resolution.release(found.pk, claim=found.claim, reason="dead", actor=actor)

    def test_one_outcome_is_recorded_once(self) -> None:
        for _ in range(self.ROUNDS):
            found = stored("unknown")
            self.refused(at_once(*(self.telling(found, actor) for actor in (ADA, BOB))))
        assert events() == ["happened"] * self.ROUNDS

    def telling(self, found: IdempotencyRecord, actor: Actor) -> Callable[[], None]:
        return lambda: resolution.happened(found.pk, **OF_UNKNOWN[Act.HAPPENED], actor=actor)

    def test_one_incident_is_decided_once(self) -> None:
        for _ in range(self.ROUNDS):
            found = incident()
            given = {"counter": 3, "reason": "no"}
            decisions = (resolution.original_stands, resolution.client_error)
            self.refused(at_once(*(self.deciding(decide, found.pk, given) for decide in decisions)))
        assert len(events()) == self.ROUNDS

    def deciding(self, decide: Any, pk: int, given: dict[str, Any]) -> Callable[[], None]:
        return lambda: decide(pk, **given, actor=ADA)

    def test_one_incident_is_taken_once(self) -> None:
        for _ in range(self.ROUNDS):
            found = incident()
            self.refused(at_once(*(self.taking(found.pk, actor) for actor in (ADA, BOB))))
        assert events() == ["assign"] * self.ROUNDS

    def taking(self, pk: int, actor: Actor) -> Callable[[], None]:
        return lambda: resolution.assign(pk, to=actor, seen="", actor=actor)

    def test_acts_on_different_records_are_one_chain(self) -> None:
        self.telling(stored("unknown"), BOB)()
        found = [stored("unknown") for _ in range(6)]
        assert at_once(*(self.telling(one, ADA) for one in found)) == ["done"] * 6
        assert (len(events()), list(verify())) == (7, [])
