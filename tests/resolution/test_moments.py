"""
Each act at the very moment when what it is about is completed: by the client's retry, by upkeep, or by another person.

Beside test_races.py and test_replay_races.py, which have the acts on one record or incident: what is sent, what a second
person grants, several at once, and the pages. Here, too, the other one's change is committed just before the statement by
which the act takes hold.
"""

from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_idempotency import approvals, bulk, resolution
from django_idempotency.models import (
    IdempotencyApproval,
    IdempotencyBulkRow,
    IdempotencyIncident,
    IdempotencyRecord,
)
from django_idempotency.resolution import ACTS, Act, Moved, NeedsApproval, NotResolved
from tests.desk.conftest import VIEW, staff_client, staff_user  # noqa: F401
from tests.desk.test_acts import OF_RECORDS, page_of, seen_of
from tests.resolution.people import (
    ADA,
    BOB,
    READ_OF_RECORD,
    UPDATE_OF_INCIDENT,
    UPDATE_OF_RECORD,
    events,
    just_before,
)
from tests.resolution.retries import mismatched, payments
from tests.resolution.shop import TILL
from tests.resolution.test_incidents import incident
from tests.resolution.test_races import COMPLETED, OF_UNKNOWN, assert_left_as_it_is, complete
from tests.support.records import stored
from tests.support.threads import elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.desk.urls")]

LOCKED = {Act.RELEASE: READ_OF_RECORD}


def completes() -> Any:
    return elsewhere(complete)


def at_that_moment(act: Act) -> Any:
    return just_before(LOCKED.get(act, UPDATE_OF_RECORD), completes)


def found_for(act: Act) -> tuple[IdempotencyRecord, dict[str, Any]]:
    """A record that the act fits, and what it is given."""
    if act is Act.RELEASE:
        dead = stored("processing")
        return dead, {"claim": dead.claim, "reason": "dead"}
    of_view = act in (Act.HAPPENED, Act.NEVER_HAPPENED)
    return stored("unknown", operation="" if of_view else "tests.resolved"), OF_UNKNOWN[act]


@pytest.fixture
def others_write() -> None:
    """Several connections that write: in SQLite, nobody else does from an act's first statement on."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer")


@pytest.mark.usefixtures("others_write")
class TestASecondPerson:
    """Who grants it has seen what was asked for a while ago."""

    @pytest.mark.parametrize("act", [Act.RELEASE, *OF_UNKNOWN])
    def test_what_completes_while_it_is_granted_is_left_alone(self, act: Act) -> None:
        found, said = found_for(act)
        with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {act.value: None}}}):
            approval = self.asked(act, found, said)
            with at_that_moment(act), pytest.raises(NotResolved):
                approvals.approve(approval.pk, actor=BOB)
        record = IdempotencyRecord.objects.get()
        assert (record.state, bytes(record.body), events()) == ("completed", b"paid", ["request"])
        assert IdempotencyApproval.objects.get().state == "requested"

    def asked(self, act: Act, found: IdempotencyRecord, said: dict[str, Any]) -> IdempotencyApproval:
        # Asked for as it is frozen; whether it would be possible is looked at when it is granted.
        with pytest.raises(NeedsApproval) as needs:
            raise NeedsApproval(
                resolution.acts.Asked(act=act, actor=ADA, arguments={**said}, record_id=found.pk),
                vars(found),
                "default",
            )
        return approvals.request(needs.value)


@pytest.mark.usefixtures("others_write")
class TestSeveralAtOnce:
    def test_a_row_whose_request_completes_is_refused_and_the_next_is_done(self) -> None:
        records = [stored("processing") for _ in range(2)]
        first = IdempotencyRecord.objects.filter(pk=records[0].pk)
        seen = {record.pk: record.claim for record in records}
        run = bulk.begin(Act.RELEASE, records, seen, reason="dead", actor=ADA, using="default")
        with just_before(READ_OF_RECORD, lambda: elsewhere(lambda: first.update(**COMPLETED))):
            bulk.carry_out(run.pk, seconds=9, using="default")
        assert list(IdempotencyBulkRow.objects.order_by("pk").values_list("state", flat=True)) == ["refused", "done"]
        assert bytes(first.get().body) == b"paid"
        assert events("record_id") == [(records[1].pk,)]


class TestThePage:
    @pytest.mark.parametrize("act", [act for act in OF_RECORDS if act != "show-answer"])
    def test_it_says_so_where_it_completes_after_the_page_has_looked(self, staff_client: Any, act: str) -> None:  # noqa: F811
        make, given, permissions = OF_RECORDS[act]
        record = make()
        IdempotencyIncident.objects.all().delete()
        client = staff_client(*VIEW, *permissions.split())
        with at_that_moment(Act(act)):
            refused = client.post(page_of(record, act), {"seen": seen_of(record, act), **given})
        assert refused.status_code == 409
        assert "Nothing was done." in refused.content.decode()
        assert_left_as_it_is()

    def test_a_decision_on_an_incident_that_heals_meanwhile_is_refused(self, staff_client: Any) -> None:  # noqa: F811
        found = incident("failed")
        heals = lambda: IdempotencyIncident.objects.update(healed_at=timezone.now())  # noqa: E731
        page = reverse("admin:django_idempotency_idempotencyincident_act", args=[found.pk, "close"])
        with just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(heals)):
            refused = staff_client(*VIEW, "resolve").post(page, {"seen": 3, "reason": "a test"})
        assert (refused.status_code, events()) == (409, [])
        assert IdempotencyIncident.objects.get().decision == ""


class TestAMismatch:
    @pytest.mark.parametrize("change", [{"counter": F("counter") + 1}, {"decision": "original-stands"}])
    def test_what_moves_is_not_run(self, buyer: Any, change: dict[str, Any]) -> None:
        number = mismatched(buyer)
        moves = lambda: elsewhere(lambda: IdempotencyIncident.objects.update(**change))  # noqa: E731
        with just_before(UPDATE_OF_INCIDENT, moves), pytest.raises(Moved):
            resolution.run_refused(number, reason="both are wanted", actor=ADA)
        assert (TILL.seen, events()) == ([], [])
        assert [amount for _key, amount in payments()] == [5]


class TestWhoSeesToIt:
    def test_what_is_taken_at_that_moment_is_not_taken_from_anybody(self) -> None:
        found = incident()
        takes = lambda: IdempotencyIncident.objects.update(assignee="bob", assignee_id="-8")  # noqa: E731
        with just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(takes)), pytest.raises(Moved):
            resolution.assign(found.pk, to=ADA, seen="", actor=ADA)
        assert (IdempotencyIncident.objects.get().assignee, events()) == ("bob", [])

    def test_what_is_opened_at_that_moment_is_not_opened_twice(self) -> None:
        found = incident(healed_at=timezone.now(), decision="close")
        opens = lambda: IdempotencyIncident.objects.update(healed_at=None, decision="")  # noqa: E731
        with just_before(UPDATE_OF_INCIDENT, lambda: elsewhere(opens)), pytest.raises(Moved):
            resolution.reopen(found.pk, reason="more to do", actor=ADA)
        assert events() == []


def test_no_act_on_a_record_is_forgotten() -> None:
    of_record = {Act.RELEASE, *OF_UNKNOWN}
    of_incident = {Act.STANDS, Act.CLIENT_ERROR, Act.SETTLED, Act.CLOSE, Act.RUN_REFUSED}
    # What is sent makes sure of its own; see test_replay_races.py. A dry run, and an answer that is posted, change nothing.
    assert set(ACTS) == of_record | of_incident | {Act.REPLAY, Act.DRY_RUN, Act.POST_ANSWER}
