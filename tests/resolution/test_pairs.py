"""
Each act against each other one that fits the same thing, by two members of staff.

Once in a row, the slower one having looked before the faster one acted; once at the same moment; and where something is
sent, while it is under way.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_idempotency import resolution
from django_idempotency.audit import record_event
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep
from django_idempotency.resolution import ACTS, Act, Actor, NotResolved, StillRunning, WrongState
from django_idempotency.verification import verify
from tests.desk.situations import operation
from tests.resolution.people import ADA, BOB, events
from tests.resolution.retries import failed, mismatched, payments, post, replay
from tests.resolution.retries import incident as incident_of
from tests.resolution.shop import TILL
from tests.resolution.test_incidents import incident
from tests.resolution.test_races import OF_UNKNOWN, at_once
from tests.support.records import stored
from tests.support.threads import Stage, elsewhere, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]

DAYS = timedelta(days=2)
WHY = {"reason": "ticket 9"}
PAID_BY_HAND = {"reference": "SEPA 77", **WHY}
OF_CALL: tuple[Act, ...] = (Act.APPROVED, Act.DECLINED, Act.RETURNED, Act.NEVER_HAPPENED, Act.GO_ON)
OF_VIEW = (Act.HAPPENED, Act.NEVER_HAPPENED)
DECISIONS = {Act.STANDS: WHY, Act.CLIENT_ERROR: WHY, Act.SETTLED: PAID_BY_HAND, Act.CLOSE: WHY}
OF_KIND = {
    "mismatch": (Act.STANDS, Act.CLIENT_ERROR, Act.SETTLED),
    "failed": (Act.SETTLED, Act.CLOSE),
    "abandoned": (Act.SETTLED, Act.CLOSE),
    "unknown": (Act.CLOSE,),
}


@dataclass(frozen=True)
class Situation:
    make: Callable[[], Any]
    acts: tuple[Act, ...]


def call() -> IdempotencyRecord:
    found = operation()
    IdempotencyIncident.objects.all().delete()
    IdempotencyRecord.objects.filter(pk=found.pk).update(claimed_at=timezone.now() - DAYS)
    IdempotencyStep.objects.update(requested_at=timezone.now() - DAYS)
    return found


SITUATIONS = {
    "call": Situation(call, OF_CALL),
    "view": Situation(lambda: stored("unknown", claimed_at=DAYS), OF_VIEW),
    "in flight": Situation(lambda: stored("processing"), (Act.RELEASE,)),
    **{kind: Situation(lambda kind=kind: incident(kind), acts) for kind, acts in OF_KIND.items()},  # type: ignore[misc]
}
PAIRS = [
    (name, *pair)
    for name, situation in SITUATIONS.items()
    for pair in itertools.combinations_with_replacement(situation.acts, 2)
]


def doing(act: Act, found: Any, actor: Actor) -> Callable[[], Any]:
    """The act, as whoever does it has seen what it is about."""
    if isinstance(found, IdempotencyIncident):
        said: dict[str, Any] = {"counter": found.counter, **DECISIONS[act]}
    elif act is Act.RELEASE:
        said = {"claim": found.claim, **WHY}
    else:
        said = {"token": found.token, **OF_UNKNOWN[act]}
        if act is Act.APPROVED:
            said |= {"amount": 48000, "currency": "EUR"}
    return lambda: ACTS[act](found.pk, **said, actor=actor)


def refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except NotResolved:
        return True
    return False


@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
def test_the_slower_of_two_is_refused_and_changes_nothing(name: str, first: Act, second: Act) -> None:
    for faster, slower in {(first, second), (second, first)}:
        found = SITUATIONS[name].make()
        late = doing(slower, found, BOB)
        doing(faster, found, ADA)()
        before = left(found)
        assert refused(late)
        assert left(found) == before
        IdempotencyRecord.objects.all().delete()
        IdempotencyStep.objects.all().delete()
        IdempotencyIncident.objects.all().delete()
    assert {
        actor
        for (actor,) in events(
            "actor",
        )
    } == {"ada"}


def left(found: Any) -> Any:
    """What there is of it, of its journal, and of all incidents."""
    rows = (IdempotencyRecord, IdempotencyStep, IdempotencyIncident)
    return [list(model.objects.order_by("pk").values()) for model in rows]


@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
def test_of_two_at_once_one_wins_and_the_other_is_told(name: str, first: Act, second: Act) -> None:
    found = SITUATIONS[name].make()
    outcomes = at_once(doing(first, found, ADA), doing(second, found, BOB))
    assert (outcomes.count("done"), len(outcomes)) == (1, 2)
    assert len(events()) == 1
    assert list(verify()) == []


def test_of_two_who_open_it_again_one_is_told() -> None:
    found = incident()
    resolution.original_stands(found.pk, counter=3, **WHY, actor=ADA)
    opening = [lambda actor=actor: resolution.reopen(found.pk, **WHY, actor=actor) for actor in (ADA, BOB)]
    assert at_once(*opening).count("done") == 1
    assert events() == ["original-stands", "reopen"]


def settling(number: int, act: Act) -> Callable[[], Any]:
    return lambda: ACTS[act](number, counter=1, **DECISIONS[act], actor=BOB)


@pytest.mark.usefixtures("nobody_waits")
class TestWhileItIsRun:
    """What one has sent is under way, and another one decides of the same incident."""

    @pytest.mark.parametrize("act", OF_KIND["failed"])
    def test_a_failure_that_is_run_again_is_not_settled_meanwhile(self, buyer, act):
        stage, number = Stage(), failed(buyer)
        TILL.does = lambda: stage.enter() or 201
        with running(lambda: replay(number), stage) as run:
            assert refused(settling(number, act))
        assert run.result().kept
        assert incident_of().decision == ""
        assert (payments(), events()) == ([("k", 5)], ["replay", "replay-ended"])

    @pytest.mark.parametrize("act", OF_KIND["mismatch"])
    def test_nor_is_a_mismatch_whose_other_payload_is_run(self, buyer, act):
        stage, number = Stage(), mismatched(buyer)
        TILL.does = lambda: stage.enter() or 201
        run_it = lambda: resolution.run_refused(number, **WHY, actor=ADA)  # noqa: E731
        with running(run_it, stage) as run:
            assert refused(settling(number, act))
        assert run.result().kept
        assert incident_of("mismatch").decision == "run-refused"
        assert [amount for _key, amount in payments()] == [5, 6]
        assert events() == ["run-refused", "run-refused-ended"]

    def test_what_was_decided_all_the_same_is_not_overwritten(self, buyer):
        """By whoever took the run's process for dead, because it took so long."""
        number = mismatched(buyer)
        closed = {"decision": "original-stands", "healed_at": timezone.now()}
        TILL.does = lambda: elsewhere(lambda: IdempotencyIncident.objects.update(**closed)) and 201
        if connection.vendor == "sqlite":
            pytest.skip("nobody else writes while a view runs there")
        resolution.run_refused(number, **WHY, actor=ADA)
        assert incident_of("mismatch").decision == "original-stands"

    def test_once_it_has_failed_again_it_can_be_settled(self, buyer):
        number = failed(buyer)
        TILL.breaks()
        replay(number)
        found = incident_of()
        resolution.settled_outside(number, counter=found.counter, **PAID_BY_HAND, actor=BOB)
        assert incident_of().decision == "settled-outside"

    def test_nor_does_one_wait_for_a_run_whose_process_has_died(self, buyer):
        number = failed(buyer)
        found = incident_of()
        settle = settling(number, Act.SETTLED)
        begun = record_event(ADA, "replay", record_id=found.record_id, incident_id=number)
        with pytest.raises(StillRunning):
            settle()
        aged(begun)
        settle()
        assert incident_of().decision == "settled-outside"


def aged(event: Any) -> None:
    """Let it have been an hour ago."""
    table = event._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET at = %s WHERE sequence = %s", [timezone.now() - DAYS, event.sequence])


@pytest.mark.usefixtures("nobody_waits")
class TestTheClientsRetry:
    """The client tries again while somebody decides that its failure was settled in another way."""

    def test_what_is_under_way_is_not_settled_outside(self, buyer):
        if connection.vendor == "sqlite":
            pytest.skip("nobody else writes while a view runs there")
        stage, number = Stage(), failed(buyer)
        TILL.does = lambda: stage.enter() or 201
        with running(lambda: post(buyer), stage), pytest.raises(StillRunning):
            settling(number, Act.SETTLED)()
        assert events() == []

    def test_what_has_completed_is_not_settled_outside_and_can_be_closed(self, buyer):
        number = failed(buyer)
        assert post(buyer).status_code == 201
        with pytest.raises(WrongState, match="has completed"):
            settling(number, Act.SETTLED)()
        assert (incident_of().decision, events()) == ("", [])
        settling(number, Act.CLOSE)()
        assert incident_of().decision == "close"
