"""What staff decide about incidents: who sees to them, and how they end."""

import json
from typing import Any

import pytest
from django.utils import timezone

from django_idempotency import incidents, resolution
from django_idempotency.models import IdempotencyIncident
from django_idempotency.resolution import Moved, NotFound, WrongState
from django_idempotency.signals import resolved
from tests.resolution.people import ADA, BOB, events
from tests.support.contenders import operation
from tests.support.records import stored

pytestmark = pytest.mark.django_db

BECAUSE: dict[str, Any] = {"reason": "the client sent a corrected amount", "actor": ADA}


def incident(kind: str = "mismatch", **columns: Any) -> IdempotencyIncident:
    now, asked = timezone.now(), operation()
    request = {"namespace": "default", "scope": "user:1", "key": asked.key, "method": "POST", "path": "/pay"}
    known = {"record_id": asked.id, "fingerprint": "01" * 32, "counter": 3, "first_seen": now, "last_seen": now}
    return IdempotencyIncident.objects.create(kind=kind, **{**request, **known, **columns})


def afresh(found: IdempotencyIncident) -> IdempotencyIncident:
    return IdempotencyIncident.objects.get(pk=found.pk)


DECISIONS = [
    ("original-stands", resolution.original_stands, {}, "mismatch"),
    ("client-error", resolution.client_error, {}, "mismatch"),
    ("settled-outside", resolution.settled_outside, {"reference": "SEPA 77"}, "mismatch"),
    ("settled-outside", resolution.settled_outside, {"reference": "SEPA 77"}, "failed"),
    ("close", resolution.close, {}, "failed"),
    ("close", resolution.close, {}, "abandoned"),
    ("close", resolution.close, {}, "unknown"),
]


class TestDecisions:
    @pytest.mark.parametrize(("name", "act", "given", "kind"), DECISIONS)
    def test_a_decision_closes_it(self, name: str, act: Any, given: dict[str, str], kind: str) -> None:
        found = incident(kind)
        act(found.pk, counter=3, **given, **BECAUSE)
        closed = afresh(found)
        assert (closed.decision, closed.reference, closed.healed_at is not None) == (
            *(name, given.get("reference", "")),
            True,
        )
        ((act_told, actor, record_id, incident_id, reason, before, after),) = events(
            *("act", "actor", "record_id", "incident_id", "reason", "before", "after")
        )
        assert (act_told, actor, record_id, incident_id) == (name, "ada", found.record_id, found.pk)
        assert reason == BECAUSE["reason"]
        assert json.loads(before)["counter"] == 3
        assert json.loads(after)["decision"] == name

    @pytest.mark.django_db(transaction=True)
    def test_it_is_told(self) -> None:
        heard: list[dict[str, Any]] = []

        def receive(sender: Any, **said: Any) -> None:
            heard.append({"sender": sender, **said})

        found = incident()
        resolved.connect(receive)
        try:
            resolution.client_error(found.pk, counter=3, **BECAUSE)
        finally:
            resolved.disconnect(receive)
        (told,) = heard
        assert (told["sender"], told["record"], told["incident"]["id"]) == (IdempotencyIncident, None, found.pk)
        assert (told["how"], told["actor"], told["reason"]) == ("client-error", ADA, BECAUSE["reason"])

    @pytest.mark.parametrize(
        ("act", "kind"),
        [
            (resolution.original_stands, "failed"),
            (resolution.client_error, "abandoned"),
            (resolution.close, "mismatch"),
        ],
    )
    def test_another_kind_is_settled_in_another_way(self, act: Any, kind: str) -> None:
        found = incident(kind)
        with pytest.raises(WrongState, match="in another way"):
            act(found.pk, counter=3, **BECAUSE)
        assert (afresh(found).healed_at, events()) == (None, [])

    def test_settled_outside_needs_a_reference(self) -> None:
        with pytest.raises(ValueError, match="reference must not be empty"):
            resolution.settled_outside(incident().pk, counter=3, reference="", **BECAUSE)

    def test_an_unknown_outcome_is_recorded_first(self) -> None:
        found = incident("unknown", record_id=stored("unknown").pk)
        with pytest.raises(WrongState, match="Record the outcome"):
            resolution.close(found.pk, counter=3, **BECAUSE)
        assert afresh(found).healed_at is None

    def test_what_has_happened_again_since_it_was_shown_is_refused(self) -> None:
        found = incident(counter=4)
        with pytest.raises(Moved):
            resolution.original_stands(found.pk, counter=3, **BECAUSE)
        assert (afresh(found).healed_at, events()) == (None, [])

    def test_what_is_closed_is_closed(self) -> None:
        found = incident()
        resolution.original_stands(found.pk, counter=3, **BECAUSE)
        with pytest.raises(WrongState, match="closed already"):
            resolution.client_error(found.pk, counter=3, reason="no", actor=BOB)
        assert (afresh(found).decision, events()) == ("original-stands", ["original-stands"])

    def test_what_is_not_there_is_refused(self) -> None:
        with pytest.raises(NotFound, match="no incident"):
            resolution.close(77, counter=1, **BECAUSE)

    @pytest.mark.django_db(transaction=True)
    def test_what_happens_again_is_open_again_and_undecided(self) -> None:
        asked = operation()
        told = incidents.unknown(asked)
        incidents.report("default", told)
        found = IdempotencyIncident.objects.get()
        resolution.close(found.pk, counter=1, **BECAUSE)
        incidents.report("default", told)
        again = afresh(found)
        assert (again.healed_at, again.decision, again.reference, again.counter) == (None, "", "", 2)


class TestReopen:
    def test_what_was_closed_is_open_again(self) -> None:
        found = incident()
        resolution.settled_outside(found.pk, counter=3, reference="SEPA 77", **BECAUSE)
        resolution.reopen(found.pk, reason="the transfer came back", actor=BOB)
        again = afresh(found)
        assert (again.healed_at, again.decision, again.reference) == (None, "", "")
        assert events("act", "actor") == [("settled-outside", "ada"), ("reopen", "bob")]
        assert json.loads(events("before")[1][0]) == {"decision": "settled-outside", "reference": "SEPA 77"}

    def test_what_is_open_is_open(self) -> None:
        with pytest.raises(WrongState, match="open already"):
            resolution.reopen(incident().pk, **BECAUSE)

    def test_it_needs_a_reason(self) -> None:
        found = incident(healed_at=timezone.now())
        with pytest.raises(ValueError, match="reason must not be empty"):
            resolution.reopen(found.pk, reason="", actor=ADA)
        assert afresh(found).healed_at is not None


class TestAssign:
    def test_somebody_sees_to_it_and_hands_it_on(self) -> None:
        found = incident()
        resolution.assign(found.pk, to=ADA, seen="", actor=ADA)
        resolution.assign(found.pk, to=BOB, seen="ada", actor=ADA)
        assert (afresh(found).assignee, afresh(found).assignee_id) == ("bob", "-8")
        resolution.assign(found.pk, to=None, seen="bob", actor=BOB)
        assert (afresh(found).assignee, afresh(found).assignee_id) == ("", "")
        assert [json.loads(after)["assignee"] for (after,) in events("after")] == ["ada", "bob", ""]

    def test_of_two_who_take_it_the_second_is_told(self) -> None:
        found = incident()
        resolution.assign(found.pk, to=ADA, seen="", actor=ADA)
        with pytest.raises(Moved):
            resolution.assign(found.pk, to=BOB, seen="", actor=BOB)
        assert (afresh(found).assignee, events()) == ("ada", ["assign"])
