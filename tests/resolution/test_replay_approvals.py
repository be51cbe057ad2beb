"""A replay that needs a second person: it runs when that one has agreed, once, and the audit has all of it."""

import pytest

from django_idempotency import approvals, resolution
from django_idempotency.models import IdempotencyApproval
from django_idempotency.resolution import Moved, NeedsApproval, NotGranted
from tests.resolution.people import BOB, events
from tests.resolution.retries import SAID, failed, incident, mismatched, payments, replay
from tests.resolution.shop import TILL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.resolution.shop")]


@pytest.fixture(autouse=True)
def _rules(settings):
    settings.IDEMPOTENCY = {"default": {"APPROVALS": {"replay": None, "run-refused": None}}}


def asked_for(act):
    with pytest.raises(NeedsApproval) as needs:
        act()
    assert (TILL.seen, events()) == ([], [])
    return approvals.request(needs.value).pk


def test_it_runs_when_another_person_has_agreed(buyer):
    number = failed(buyer)
    approvals.approve(asked_for(lambda: replay(number)), actor=BOB)
    assert payments() == [("k", 5)]
    assert TILL.seen[0]["by"] == "ada"
    assert events("act", "actor") == [
        ("request", "ada"),
        ("replay", "ada"),
        ("approve", "bob"),
        ("replay-ended", "ada"),
    ]


def test_it_is_not_run_before_the_approval_is_committed(buyer):
    number = failed(buyer)
    approval = asked_for(lambda: replay(number))
    TILL.does = lambda: 201 if IdempotencyApproval.objects.get().state == "done" else 500
    approvals.approve(approval, actor=BOB)
    assert payments() == [("k", 5)]


def test_it_is_used_up(buyer):
    number = failed(buyer)
    approval = asked_for(lambda: replay(number))
    TILL.breaks()
    approvals.approve(approval, actor=BOB)
    TILL.works()
    with pytest.raises(NotGranted):
        approvals.approve(approval, actor=BOB)
    assert payments() == []


def test_what_has_moved_since_it_was_asked_for_is_refused(buyer):
    number = failed(buyer)
    approval = asked_for(lambda: replay(number))
    failed(buyer)
    with pytest.raises(Moved):
        approvals.approve(approval, actor=BOB)
    assert (payments(), TILL.seen) == ([], [])
    assert incident().counter == 2


def test_the_refused_payload_of_a_mismatch_runs_once(buyer):
    number = mismatched(buyer)
    approvals.approve(asked_for(lambda: resolution.run_refused(number, **SAID)), actor=BOB)
    assert [amount for _, amount in payments()] == [5, 6]
    assert incident("mismatch").decision == "run-refused"
