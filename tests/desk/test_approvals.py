"""What waits for a second person: the list, the page, and who may decide."""

import html

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_idempotency import approvals, resolution
from django_idempotency.models import IdempotencyApproval, IdempotencyEvent, IdempotencyRecord
from django_idempotency.resolution import Actor, NeedsApproval
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, SCRIPT
from tests.resolution.people import BOB, events
from tests.support.records import stored

pytestmark = pytest.mark.django_db

LIST = "admin:django_idempotency_idempotencyapproval_changelist"
ANSWER = {"status": 201, "body": '{"password": "s3cret", "id": 7}', "reference": "payment 7", "evidence": "line 7"}
SEES = (*VIEW, "view_idempotencyapproval")


@pytest.fixture(autouse=True)
def _rules():
    with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None, "happened": None}}}):
        yield


def asked_for(actor: Actor = BOB, *, reason: str = "dead") -> IdempotencyApproval:
    """A release that somebody has asked for."""
    dead = stored("processing")
    with pytest.raises(NeedsApproval) as needs:
        resolution.release(dead.pk, claim=dead.claim, reason=reason, actor=actor)
    return approvals.request(needs.value)


def page_of(approval, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencyapproval_{kind}", args=[approval.pk])


@pytest.fixture
def approver(staff_client):
    return staff_client(*SEES, "approve")


def state_of(approval):
    return IdempotencyApproval.objects.get(pk=approval.pk).state


class TestDeciding:
    @pytest.mark.parametrize("decision", ["approve", "reject"])
    def test_one_that_is_gone_is_not_found(self, approver, decision):
        where = reverse(f"admin:django_idempotency_idempotencyapproval_{decision}", args=[7])
        assert approver.post(where).status_code == 404

    def test_what_does_not_fit_the_rules_any_more_is_said_to_be_refused(self, approver):
        with pytest.raises(NeedsApproval) as needs:
            resolution.happened(stored("unknown").pk, **ANSWER, actor=BOB)
        approval = approvals.request(needs.value)
        rules = {"APPROVALS": {"happened": None}, "MAX_RESPONSE": 5}
        with override_settings(IDEMPOTENCY={"default": rules}):
            answer = approver.post(page_of(approval, "approve"))
        assert answer.status_code == 409
        assert "larger than MAX_RESPONSE" in answer.content.decode()
        assert state_of(approval) == "requested"

    def test_the_page_shows_what_is_asked_and_by_whom_and_it_is_done(self, approver):
        approval = asked_for(reason="its process was killed")
        shown = html.unescape(approver.get(page_of(approval)).content.decode())
        for text in ("Free the key", "bob has asked for this (", "its process was killed", approval.digest):
            assert text in shown
        assert approver.post(page_of(approval, "approve")).status_code == 302
        assert state_of(approval) == "done"
        assert not IdempotencyRecord.objects.filter(pk=approval.record_id).exists()
        event = IdempotencyEvent.objects.get(act="approve")
        assert (event.actor, event.address) == ("ada", "127.0.0.1")

    def test_to_reject_takes_a_reason(self, approver):
        approval = asked_for()
        assert approver.post(page_of(approval, "reject"), {"reason": " "}).status_code == 409
        assert state_of(approval) == "requested"
        assert approver.post(page_of(approval, "reject"), {"reason": "it lives"}).status_code == 302
        assert state_of(approval) == "rejected"

    def test_nobody_approves_what_they_have_asked_for(self, staff_user, client):
        ada = staff_user(*SEES, "approve")
        approval = asked_for(Actor(name="ada", id=str(ada.pk)))
        client.force_login(ada)
        shown = client.get(page_of(approval)).content.decode()
        assert page_of(approval, "approve") not in shown
        assert client.post(page_of(approval, "approve")).status_code == 409
        assert state_of(approval) == "requested"

    def test_who_has_asked_can_take_it_back_without_the_permission(self, staff_user, client):
        ada = staff_user(*SEES)
        approval = asked_for(Actor(name="ada", id=str(ada.pk)))
        client.force_login(ada)
        assert "Take it back" in client.get(page_of(approval)).content.decode()
        assert client.post(page_of(approval, "reject"), {"reason": "my mistake"}).status_code == 302
        assert state_of(approval) == "rejected"

    @pytest.mark.parametrize("kind", ["approve", "reject"])
    def test_without_the_permission_there_is_no_button_and_no_decision(self, staff_client, kind):
        approval = asked_for()
        client = staff_client(*SEES, "resolve", "release", "replay")
        assert page_of(approval, kind) not in client.get(page_of(approval)).content.decode()
        assert client.post(page_of(approval, kind), {"reason": "x"}).status_code == 403
        assert state_of(approval) == "requested"

    @pytest.mark.parametrize("kind", ["approve", "reject"])
    def test_nor_with_that_permission_alone_or_by_a_link(self, staff_client, approver, kind):
        approval = asked_for()
        assert staff_client("approve", name="eve").post(page_of(approval, kind), {"reason": "x"}).status_code == 403
        assert approver.get(page_of(approval, kind)).status_code == 405

    def test_of_two_who_approve_the_slower_one_is_told(self, approver, staff_client):
        approval = asked_for()
        approver.post(page_of(approval, "approve"))
        slower = staff_client(*SEES, "approve", name="eve").post(page_of(approval, "approve"))
        assert slower.status_code == 409
        assert "It is decided already" in slower.content.decode()
        assert events().count("release") == 1

    def test_a_record_that_has_completed_meanwhile_is_left_alone(self, approver):
        approval = asked_for()
        IdempotencyRecord.objects.filter(pk=approval.record_id).update(state="completed")
        refused = approver.post(page_of(approval, "approve"))
        assert refused.status_code == 409
        assert "errornote" in refused.content.decode()
        assert state_of(approval) == "requested"

    def test_what_is_late_has_no_buttons(self, approver):
        approval = asked_for()
        IdempotencyApproval.objects.update(expires_at=timezone.now() - HOUR)
        shown = approver.get(page_of(approval)).content.decode()
        assert "Nobody has approved it in time" in shown
        assert page_of(approval, "approve") not in shown

    def test_what_was_changed_in_the_database_is_said_to_be(self, approver):
        approval = asked_for()
        assert "This is not what was asked for" not in approver.get(page_of(approval)).content.decode()
        IdempotencyApproval.objects.update(record_id=stored("processing").pk)
        shown = approver.get(page_of(approval)).content.decode()
        assert "This is not what was asked for" in shown
        assert page_of(approval, "approve") not in shown

    def test_what_it_would_answer_is_masked(self, approver):
        record = stored("unknown")
        with pytest.raises(NeedsApproval) as needs:
            resolution.happened(record.pk, **ANSWER, token=0, actor=BOB)
        shown = approver.get(page_of(approvals.request(needs.value))).content.decode()
        assert "s3cret" not in shown
        assert "payment 7" in shown

    def test_what_staff_has_written_is_escaped(self, approver):
        shown = approver.get(page_of(asked_for(reason=SCRIPT))).content.decode()
        assert "<script>alert" not in shown
        assert html.escape(SCRIPT) in shown


class TestList:
    def test_what_waits_comes_first_and_the_oldest_of_it_before_the_others(self, approver):
        late, second, first, done = (asked_for() for _ in range(4))
        IdempotencyApproval.objects.filter(pk=late.pk).update(expires_at=timezone.now() - HOUR)
        IdempotencyApproval.objects.filter(pk=first.pk).update(requested_at=timezone.now() - HOUR)
        approvals.reject(done.pk, reason="no", actor=BOB)
        listed = approver.get(reverse(LIST)).content.decode()
        places = [listed.index(page_of(approval)) for approval in (first, second, done, late)]
        assert places == sorted(places)

    def test_the_dashboards_link_shows_what_waits(self, approver):
        waits, done = asked_for(), asked_for()
        approvals.reject(done.pk, reason="no", actor=BOB)
        listed = approver.get(reverse(LIST), {"state__exact": "requested"}).content.decode()
        assert page_of(waits) in listed
        assert page_of(done) not in listed

    def test_it_takes_the_permission_to_view(self, staff_client):
        assert staff_client(*VIEW, "approve").get(reverse(LIST)).status_code == 403

    def test_its_queries_do_not_grow_with_it(self, approver, django_assert_max_num_queries):
        for _ in range(5):
            asked_for()
        with django_assert_max_num_queries(8):
            approver.get(reverse(LIST))
