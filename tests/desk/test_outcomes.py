"""What staff is told of a request that was run: whether it has run, and what has become of its key."""

import html
import uuid

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from django_idempotency import approvals, resolution
from django_idempotency.core.engine import Refused
from django_idempotency.exceptions import InFlight, OutcomeUnknown
from django_idempotency.models import IdempotencyApproval, IdempotencyRecord
from django_idempotency.on_behalf import OnBehalf
from django_idempotency.resolution import Actor, Answer, Moved, NeedsApproval, NotSent, StillRunning, accounts, sending
from tests.desk.conftest import VIEW
from tests.resolution.people import ADA, events
from tests.resolution.retries import SAID, failed, incident, last_event, mismatched, payments, post, replay
from tests.resolution.shop import TILL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.desk.urls")]


@pytest.fixture
def buyer():
    """A customer's client, before a till that works."""
    TILL.__init__()
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_user("buyer"))
    return client


def run_refused(number, **said):
    return resolution.run_refused(number, **{**SAID, **said})


def page_of(number, act="replay"):
    return reverse("admin:django_idempotency_idempotencyincident_act", args=[number, act])


def seen_on(client, number, act="replay"):
    """Do it on its page, and return what the page says then."""
    given = {"reason": "ticket 812", "seen": incident("mismatch" if act == "run-refused" else "failed").counter}
    client.raise_request_exception = False
    return html.unescape(client.post(page_of(number, act), given).content.decode())


class TestWhetherItHasRun:
    def test_what_authorize_refuses_has_not(self, buyer, settings):
        number = failed(buyer)
        settings.IDEMPOTENCY = {"default": {"AUTHORIZE": lambda request: False}}
        with pytest.raises(NotSent, match="403"):
            replay(number)
        assert (TILL.seen, last_event()) == ([], {"error": "NotSent"})

    def test_one_that_has_begun_is_not_said_not_to_be_sent(self, buyer):
        """An operation that goes on later, or whose call nobody has heard of, is refused after it has begun."""
        answer = Answer(status=409)
        for error in (OutcomeUnknown(operation=incident_id()), InFlight()):
            behalf = OnBehalf(by="ada", id=incident_id(), fingerprint=b"", reached=True, outcome=Refused(error))
            with pytest.raises((NotSent, StillRunning)):
                sending._judged(behalf, answer)
            behalf.began = True
            assert sending._judged(behalf, answer) == answer

    def test_what_is_known_of_it_stands_whatever_becomes_of_the_word_on_it(self, buyer):
        """The incident is held by somebody when the answer comes: it has been run all the same."""
        number = failed(buyer)
        account = accounts.Account(
            asked=resolution.replays._asked(resolution.Act.REPLAY, subject_of(number), "ticket 812", ADA),
            row=subject_of(number).row,
            alias="default",
        )

        def held(result):
            raise Moved

        assert accounts.carried_out(account, begin=dict, work=lambda: 201, end=held) == 201
        assert events() == ["replay"]


def incident_id():
    return uuid.UUID(int=7)


def subject_of(number):
    return resolution.subjects.of_replay(number, None, None)


class TestItsKey:
    def test_of_an_unknown_outcome_nobody_is_told_that_it_is_free(self, buyer, staff_client):
        number = mismatched_once(buyer)
        TILL.breaks()
        said = seen_on(staff_client(*VIEW, "replay"), number, "run-refused")
        assert "nobody knows what became of it" in said
        assert "free again" not in said
        assert IdempotencyRecord.objects.get(state="unknown").method == "POST"
        assert last_event()["state"] == "unknown"

    def test_of_a_failure_it_is(self, buyer, staff_client):
        number = failed(buyer)
        TILL.does = lambda: 400
        said = seen_on(staff_client(*VIEW, "replay"), number)
        assert "its key is free again" in said
        assert "has failed again" not in said


def mismatched_once(buyer):
    assert post(buyer, "/once").status_code == 201
    assert post(buyer, "/once", {"amount": 6}).status_code == 422
    return incident("mismatch").pk


class TestSecrets:
    def test_the_headers_of_an_answer_are_masked(self, buyer, staff_client, monkeypatch):
        """A view that logs somebody in answers with a session: nobody may have that because he may run it again."""
        number = failed(buyer)

        def with_a_session(*args, **kwargs):
            response = HttpResponse(status=201)
            response.set_cookie("sessionid", "s3cret")
            response["X-Auth-Token"] = "t0ken"
            return response

        monkeypatch.setattr("tests.resolution.shop.charge", with_a_session)
        said = seen_on(staff_client(*VIEW, "replay", "view_payload"), number)
        assert "This is what every retry gets" in said
        assert "s3cret" not in said
        assert "t0ken" not in said


class TestHistory:
    def history(self, client, number):
        page = reverse("admin:django_idempotency_idempotencyincident_change", args=[number])
        return html.unescape(client.get(page).content.decode()).partition("idem-history")[2]

    def test_it_says_what_has_come_of_it(self, buyer, staff_client):
        number = failed(buyer)
        TILL.breaks()
        replay(number)
        TILL.works()
        replay(number)
        said = self.history(staff_client(*VIEW), number)
        assert "began to run it again" in said
        assert "It was answered 500, and nothing of that is kept." in said
        assert "It was answered 201, and that is kept." in said
        assert "replay-ended" not in said
        assert said.count("ticket 812") == 2

    def test_what_was_not_sent_was_not_run(self, buyer, staff_client, settings):
        number = failed(buyer)
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.resolution.test_replays.everybody_waits"]
        with pytest.raises(NotSent):
            replay(number)
        settings.MIDDLEWARE = settings.MIDDLEWARE[:-1]
        said = self.history(staff_client(*VIEW), number)
        assert "It ended with NotSent." in said
        assert "ran it again" not in said

    def test_what_had_been_answered_before_was_not_run(self, buyer, staff_client):
        number = mismatched(buyer)
        run_refused(number)
        run_refused(number)
        said = self.history(staff_client(*VIEW), number)
        assert "Nothing was run: it had been answered 201 before." in said


class TestApprovals:
    @pytest.fixture(autouse=True)
    def _rules(self, settings):
        settings.IDEMPOTENCY = {"default": {"APPROVALS": {"replay": None}}}

    def approved(self, client, approval):
        """Approve it, and return what the page says then."""
        client.raise_request_exception = False
        page = reverse("admin:django_idempotency_idempotencyapproval_approve", args=[approval.pk])
        return html.unescape(client.post(page, follow=True).content.decode())

    def asked_for(self, buyer):
        with pytest.raises(NeedsApproval) as needs:
            replay(failed(buyer), actor=Actor(name="bob", id="of nobody here"))
        return approvals.request(needs.value)

    def test_whoever_approves_is_told_what_has_come_of_it(self, buyer, staff_client):
        approval, client = self.asked_for(buyer), staff_client(*VIEW, "view_idempotencyapproval", "approve")
        TILL.breaks()
        said = self.approved(client, approval)
        assert IdempotencyApproval.objects.get().state == "done"
        assert payments() == []
        assert "Approved, and done." not in said
        assert said.count("It was answered 500, and nothing of that is kept.") == 2

    def test_nor_is_it_done_where_its_process_has_died(self, buyer, staff_client, monkeypatch):
        approval, client = self.asked_for(buyer), staff_client(*VIEW, "view_idempotencyapproval", "approve")
        monkeypatch.setattr(accounts, "_done", lambda *args, **kwargs: None)
        said = self.approved(client, approval)
        assert "Approved, and done." not in said
        assert said.count("Nobody knows yet what has come of it: look at the request.") == 2
