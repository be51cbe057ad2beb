"""The pages of single acts: who gets to them, what they do, and what has moved meanwhile."""

import html
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from django_idempotency import resolution
from django_idempotency.models import (
    IdempotencyApproval,
    IdempotencyEvent,
    IdempotencyIncident,
    IdempotencyRecord,
    IdempotencyStep,
)
from django_idempotency.resolution import Act, fitting
from tests.desk.conftest import VIEW
from tests.desk.situations import DAY, HOUR, SCRIPT, answered, operation
from tests.desk.situations import incident as incident_of
from tests.resolution.people import BOB, events
from tests.resolution.retries import failed, incident, mismatched, payments
from tests.resolution.shop import TILL
from tests.support.records import stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.desk.urls")]

ANSWER = {"status": 201, "body": '{"id": 7}', "reference": "payment 7", "evidence": "the ledger, line 7"}
OF_RECORDS = {
    "release": (lambda: stored("processing"), {"reason": "dead"}, "release"),
    "happened": (lambda: stored("unknown"), ANSWER, "resolve"),
    "never-happened": (lambda: stored("unknown", claimed_at=2 * DAY), {"evidence": "not in the ledger"}, "resolve"),
    "go-on": (operation, {"evidence": "mended"}, "resolve"),
    "approved": (operation, {"reference": "ch_1", "amount": 48000, "currency": "EUR", "evidence": "ch_1"}, "resolve"),
    "declined": (operation, {"refusal": "card expired", "evidence": "the gateway's log"}, "resolve"),
    "returned": (operation, {"result": '{"id": 1}', "evidence": "the gateway's log"}, "resolve"),
    "show-answer": (lambda: answered(HOUR), {"reason": "the customer asks"}, "replay view_payload"),
}
OF_INCIDENTS = {
    "original-stands": ("mismatch", {"reason": "a typing error"}),
    "client-error": ("mismatch", {"reason": "a bug of theirs"}),
    "settled-outside": ("failed", {"reason": "paid by hand", "reference": "bank 12"}),
    "close": ("abandoned", {"reason": "a test"}),
}
SEEN = {"release": "claim", "show-answer": "claim"}


@pytest.fixture
def buyer():
    """A customer's client, before a till that works."""
    TILL.__init__()
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_user("buyer"))
    return client


def page_of(found, act):
    return reverse(f"admin:django_idempotency_{found._meta.model_name}_act", args=[found.pk, act])


def seen_of(found, act):
    return found.counter if isinstance(found, IdempotencyIncident) else getattr(found, SEEN.get(act, "token"))


@pytest.fixture(params=OF_RECORDS)
def case(request):
    """An act on a record: its name, the record, what the form is given, and the permissions it takes."""
    make, given, permissions = OF_RECORDS[request.param]
    record = make()
    return request.param, record, {"seen": seen_of(record, request.param), **given}, permissions.split()


class TestRecords:
    def test_the_request_page_leads_there_and_it_is_done_as_recorded(self, staff_client, case):
        act, record, given, permissions = case
        client = staff_client(*VIEW, *permissions)
        page = page_of(record, act)
        shown = client.get(reverse("admin:django_idempotency_idempotencyrecord_change", args=[record.pk]))
        assert page in shown.content.decode()
        form = client.get(page)
        assert f'name="seen" value="{given["seen"]}"' in form.content.decode()
        done = client.post(page, given)
        assert done.status_code == (200 if act == "show-answer" else 302)
        event = IdempotencyEvent.objects.get()
        assert (event.act, event.actor, event.address) == (act, "ada", "127.0.0.1")
        assert (event.reason or event.evidence) == given.get("reason", given.get("evidence"))

    def test_an_amount_with_a_point_is_not_taken_for_another(self, staff_client):
        """Which is how a German writes a thousand, and Django one."""
        record = operation()
        IdempotencyStep.objects.filter(position=1).update(input=b"{}")
        given = {"seen": 2, "reference": "ch_1", "currency": "EUR", "evidence": "ch_1"}
        client, page = staff_client(*VIEW, "resolve"), page_of(record, "approved")
        assert "Enter a whole number" in client.post(page, {**given, "amount": "1.000"}).content.decode()
        assert events() == []
        assert client.post(page, {**given, "amount": "1000"}).status_code == 302
        assert b'"amount":1000,' in bytes(IdempotencyStep.objects.get(position=1).result)

    def test_without_the_permission_there_is_no_button_and_no_page(self, staff_client, case):
        act, record, given, permissions = case
        everything = {"replay", "resolve", "release", "approve", "export", "view_payload"}
        client = staff_client(*VIEW, *(everything - {permissions[0]}))
        shown = client.get(reverse("admin:django_idempotency_idempotencyrecord_change", args=[record.pk]))
        assert page_of(record, act) not in shown.content.decode()
        assert client.get(page_of(record, act)).status_code == 403
        assert client.post(page_of(record, act), given).status_code == 403
        assert events() == []

    def test_nor_for_who_may_not_see_requests(self, staff_client, case):
        act, record, given, permissions = case
        assert staff_client(*permissions).post(page_of(record, act), given).status_code == 403

    def test_without_a_word_of_why_nothing_is_done(self, staff_client, case):
        act, record, given, permissions = case
        empty = {**given, **dict.fromkeys(given.keys() & {"reason", "evidence"}, "  ")}
        shown = staff_client(*VIEW, *permissions).post(page_of(record, act), empty)
        assert shown.status_code == 200
        assert "errorlist" in shown.content.decode()
        assert events() == []

    def test_what_has_completed_meanwhile_is_refused_and_said_so(self, staff_client, case):
        act, record, given, permissions = case
        if act == "show-answer":
            IdempotencyRecord.objects.filter(pk=record.pk).update(state="tombstone")
        else:
            IdempotencyRecord.objects.filter(pk=record.pk).update(state="completed", status=201)
        client = staff_client(*VIEW, *permissions)
        refused = client.post(page_of(record, act), given)
        assert refused.status_code == 409
        assert "Nothing was done." in refused.content.decode()
        assert events() == []

    @pytest.mark.parametrize("act", [act for act in OF_RECORDS if act != "show-answer"])
    def test_what_has_moved_on_meanwhile_is_refused(self, staff_client, act):
        make, given, permissions = OF_RECORDS[act]
        record = make()
        seen = seen_of(record, act)
        IdempotencyRecord.objects.filter(pk=record.pk).update(claim=record.claim + 1, token=record.token + 1)
        client = staff_client(*VIEW, *permissions.split())
        refused = client.post(page_of(record, act), {"seen": seen, **given})
        assert (refused.status_code, events()) == (409, [])


class TestTwoOfStaff:
    def test_the_slower_one_is_told_who_was_faster_and_did_what(self, staff_client):
        record = stored("unknown", claimed_at=2 * DAY)
        client = staff_client(*VIEW, "resolve")
        page = page_of(record, "never-happened")
        client.get(page)
        resolution.never_happened(record.pk, evidence="the ledger", actor=BOB, token=record.token)
        refused = client.post(page, {"seen": record.token, "evidence": "the ledger"})
        assert refused.status_code == 409
        assert "bob recorded that it never happened" in refused.content.decode()
        assert len(events()) == 1

    def test_a_record_that_is_gone_is_refused_too(self, staff_client):
        record = stored("processing")
        client = staff_client(*VIEW, "release")
        resolution.release(record.pk, claim=record.claim, reason="dead", actor=BOB)
        refused = client.post(page_of(record, "release"), {"seen": record.claim, "reason": "dead"})
        assert refused.status_code == 409
        assert "bob freed the key" in refused.content.decode()


class TestIncidents:
    @pytest.mark.parametrize("act", OF_INCIDENTS)
    def test_each_decision_takes_resolve_and_a_reason_and_the_counter_that_was_seen(self, staff_client, act):
        kind, given = OF_INCIDENTS[act]
        found = incident_of(answered(HOUR), kind)
        if act == "settled-outside":
            # Else it has been answered since.
            IdempotencyRecord.objects.all().delete()
        client, page = staff_client(*VIEW, "resolve"), page_of(found, act)
        assert f'name="seen" value="{found.counter}"' in client.get(page).content.decode()
        assert staff_client(*VIEW, name="eve").post(page, {"seen": 1, **given}).status_code == 403
        assert client.post(page, {"seen": 1, **given, "reason": ""}).status_code == 200
        assert client.post(page, {"seen": 2, **given}).status_code == 409
        assert events() == []
        assert client.post(page, {"seen": 1, **given}).status_code == 302
        found.refresh_from_db()
        assert found.decision == act
        assert client.post(page, {"seen": 1, **given}).status_code == 409

    def test_an_act_of_another_kind_has_no_form(self, staff_client):
        found = incident_of(answered(HOUR), "mismatch")
        shown = staff_client(*VIEW, "resolve").get(page_of(found, "close"))
        assert shown.status_code == 409
        assert b"<textarea" not in shown.content

    @pytest.mark.parametrize("act", ["release", "happened", "nonsense", "show-answer"])
    def test_what_is_no_act_on_an_incident_is_not_there(self, staff_client, act):
        found = incident_of(answered(HOUR), "failed")
        client = staff_client(*VIEW, "resolve", "release", "replay", "view_payload")
        assert client.get(page_of(found, act)).status_code == 404


class TestSending:
    @pytest.fixture
    def client(self, staff_client):
        return staff_client(*VIEW, "replay", name="eve")

    def test_a_failed_request_is_run_again_and_its_answer_shown(self, client, buyer):
        number = failed(buyer)
        page = page_of(incident(), "replay")
        shown = client.get(page).content.decode()
        assert "really run" in shown
        assert payments() == []
        done = client.post(page, {"seen": 1, "reason": "ticket 812"}).content.decode()
        assert "Answer 201" in done
        assert "This is what every retry gets from now on." in done
        assert payments() == [("k", 5)]
        assert events("act", "actor", "incident_id") == [("replay", "eve", number), ("replay-ended", "eve", number)]

    def test_once_whatever_is_posted_again(self, client, buyer):
        failed(buyer)
        page = page_of(incident(), "replay")
        assert [client.post(page, {"seen": 1, "reason": "x"}).status_code for _ in range(2)] == [200, 409]
        assert payments() == [("k", 5)]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_a_dry_run_leaves_nothing(self, client, buyer):
        failed(buyer, "/try")
        done = client.post(page_of(incident(), "dry-run"), {"seen": 1, "reason": "x"}).content.decode()
        assert "rolled back" in done
        assert payments() == []

    def test_a_dry_run_is_offered_only_where_the_view_allows_it(self, client, buyer):
        failed(buyer)
        assert client.get(page_of(incident(), "dry-run")).status_code == 409
        assert fitting.of_incident(incident()) == (Act.REPLAY, Act.SETTLED, Act.CLOSE)

    def test_the_refused_payload_is_run_under_a_key_of_its_own(self, client, buyer):
        mismatched(buyer)
        client.post(page_of(incident("mismatch"), "run-refused"), {"seen": 1, "reason": "both are meant"})
        assert [amount for _, amount in payments()] == [5, 6]

    def test_it_is_no_part_of_the_page_s_own_transaction(self, client, buyer):
        failed(buyer)
        before = connection.settings_dict["ATOMIC_REQUESTS"]
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            assert client.post(page_of(incident(), "replay"), {"seen": 1, "reason": "x"}).status_code == 200
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = before
        assert payments() == [("k", 5)]

    def test_one_that_fails_again_is_said_to(self, client, buyer):
        failed(buyer)
        TILL.breaks()
        client.raise_request_exception = False
        done = client.post(page_of(incident(), "replay"), {"seen": 1, "reason": "x"}).content.decode()
        assert "This answer is not kept, and its key is free again." in done

    @pytest.mark.parametrize("act", ["replay", "dry-run", "run-refused"])
    def test_without_the_permission_it_is_refused(self, staff_client, act):
        found = incident_of(answered(HOUR), "failed")
        client = staff_client(*VIEW, "resolve", "release", "view_payload")
        assert client.post(page_of(found, act), {"seen": 1, "reason": "x"}).status_code == 403


class TestShowing:
    def test_the_stored_answer_takes_both_permissions(self, staff_client):
        record = answered(HOUR, body=b'{"card": "4111111111111111"}')
        page, given = page_of(record, "show-answer"), {"seen": record.claim, "reason": "x"}
        assert staff_client(*VIEW, "replay").post(page, given).status_code == 403
        assert (
            b"4111111111111111" in staff_client(*VIEW, "replay", "view_payload", name="eve").post(page, given).content
        )

    def test_what_a_run_has_answered_is_masked(self, staff_client):
        from django_idempotency.admin.acts import Desk, _body
        from django_idempotency.resolution import Answer

        answer = Answer(status=201, headers=(("Content-Type", "application/json"),), body=b'{"password": "s3cret"}')
        desk = Desk(admin=None, request=None, act="replay", page=None, id=1, found=None)
        assert "s3cret" not in str(_body(desk, answer))

    def test_what_clients_have_sent_is_escaped(self, staff_client):
        record = stored("processing", key=SCRIPT, path=SCRIPT, scope=SCRIPT)
        shown = staff_client(*VIEW, "release").get(page_of(record, "release")).content.decode()
        assert "<script>alert" not in shown
        assert html.escape(SCRIPT) in shown


class TestSecondPerson:
    @pytest.fixture(autouse=True)
    def _rules(self):
        with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None}}}):
            yield

    def test_it_is_said_before_and_asked_for(self, staff_client):
        record = stored("processing")
        client = staff_client(*VIEW, "release", "view_idempotencyapproval")
        page = page_of(record, "release")
        assert "Ask for approval" in client.get(page).content.decode()
        done = client.post(page, {"seen": record.claim, "reason": "dead"})
        approval = IdempotencyApproval.objects.get()
        assert (approval.act, approval.requester, approval.record_id) == ("release", "ada", record.pk)
        assert str(approval.pk) in done.headers["Location"]
        assert IdempotencyRecord.objects.filter(pk=record.pk).exists()

    def test_nobody_is_asked_for_what_would_be_refused(self, staff_client):
        record = stored("processing")
        client = staff_client(*VIEW, "release")
        refused = client.post(page_of(record, "release"), {"seen": record.claim + 1, "reason": "dead"})
        assert refused.status_code == 409
        assert not IdempotencyApproval.objects.exists()


def test_a_link_does_nothing_and_neither_does_a_form_from_elsewhere(staff_user):
    record = stored("processing", claimed_at=timedelta(hours=3))
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff_user(*VIEW, "release"))
    page = page_of(record, "release")
    client.get(page, {"seen": record.claim, "reason": "dead"})
    assert client.post(page, {"seen": record.claim, "reason": "dead"}).status_code == 403
    assert events() == []
