"""Two members of staff have the same page open. One acts; the other one, who then does, too, sees what has happened."""

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from django_idempotency import approvals, resolution
from django_idempotency.models import IdempotencyApproval, IdempotencyIncident
from django_idempotency.resolution import NeedsApproval
from tests.desk.conftest import VIEW
from tests.desk.situations import DAY, HOUR, answered, operation
from tests.desk.situations import incident as incident_of
from tests.resolution.people import BOB, events
from tests.resolution.retries import failed, payments
from tests.resolution.shop import TILL
from tests.support.records import stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.desk.urls")]

RECORD, INCIDENT = "django_idempotency_idempotencyrecord", "django_idempotency_idempotencyincident"
APPROVAL, BULK = "django_idempotency_idempotencyapproval", "django_idempotency_idempotencybulk"
EVERYTHING = (*VIEW, "view_idempotencyapproval", "release", "replay", "resolve", "approve")
EVIDENCE, WHY = {"evidence": "the ledger, line 7"}, {"reason": "ticket 9"}


def unknown():
    return stored("unknown", claimed_at=2 * DAY)


def mismatch():
    return incident_of(answered(HOUR), "mismatch")


def crashed():
    """A request that has failed, and would work now."""
    TILL.__init__()
    buyer = Client(raise_request_exception=False)
    buyer.force_login(User.objects.create_user("buyer"))
    return IdempotencyIncident.objects.get(pk=failed(buyer))


# What it is about, what the first one does, what the other one wants to do, and what the other one is told.
CASES = {
    "a dead request": (lambda: stored("processing"), ("release", WHY), ("release", WHY), "ada freed the key"),
    "an outcome": (
        unknown,
        ("never-happened", EVIDENCE),
        ("happened", {"reference": "payment 7", **EVIDENCE}),
        "ada recorded that it never happened",
    ),
    "a call": (
        operation,
        ("declined", {"refusal": "no money", **EVIDENCE}),
        ("approved", {"reference": "ch_1", "amount": "48000", "currency": "EUR", **EVIDENCE}),
        "ada recorded that the call was declined",
    ),
    "a mismatch": (
        mismatch,
        ("original-stands", WHY),
        ("client-error", WHY),
        "ada ",
    ),
    "a failure": (crashed, ("replay", WHY), ("settled-outside", {"reference": "SEPA 7", **WHY}), "ada "),
    "a run": (crashed, ("replay", WHY), ("replay", WHY), "ada "),
}


def at_the_page(visit, javascript, found, act, given, name):
    """A member of staff before the form of an act, filled in."""
    visitor = visit(*EVERYTHING, name=name, javascript=javascript)
    visitor.go(f"django_idempotency_{found._meta.model_name}_act", found.pk, act)
    for field, value in given.items():
        visitor.page.fill(f"[name={field}]", value)
    return visitor.page


@pytest.mark.parametrize("case", CASES)
def test_the_other_one_is_told_who_was_faster(visit, javascript, case):
    make, first, second, told = CASES[case]
    found = make()
    ada = at_the_page(visit, javascript, found, *first, name="ada")
    bob = at_the_page(visit, javascript, found, *second, name="bob")
    ada.click("input[type=submit].default")
    assert "Nothing was done" not in ada.inner_text("#content")
    done = events()
    bob.click("input[type=submit].default")
    shown = bob.inner_text("#content")
    assert "Nothing was done." in shown
    assert told in shown
    assert events() == done
    assert payments() == ([("k", 5)] if make is crashed else [])
    bob.click("text=Look at it again")
    assert bob.locator("a[href*='/act/']").count() == 0


def test_of_two_in_the_inbox_one_takes_it(visit, javascript):
    found = mismatch()
    ada, bob = (visit(*EVERYTHING, name=name, javascript=javascript) for name in ("ada", "bob"))
    for visitor in (ada, bob):
        visitor.go(f"{INCIDENT}_changelist")
    for visitor in (ada, bob):
        visitor.page.click(f"[aria-label='Assign incident {found.pk} to me']")
    assert "You see to it now." in ada.page.inner_text(".messagelist")
    assert "ada" in bob.page.inner_text("#content")
    found.refresh_from_db()
    assert (found.assignee, events()) == ("ada", ["assign"])


@pytest.mark.parametrize(
    ("button", "said"), [("Approve, and do it", "granted and done"), ("Reject", "granted and done")]
)
def test_of_two_who_decide_one_does(visit, javascript, button, said):
    dead = stored("processing")
    with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None}}}):
        with pytest.raises(NeedsApproval) as needs:
            resolution.release(dead.pk, claim=dead.claim, reason="dead", actor=BOB)
        approval = approvals.request(needs.value)
        ada, eve = (visit(*EVERYTHING, name=name, javascript=javascript) for name in ("ada", "eve"))
        for visitor in (ada, eve):
            visitor.go(f"{APPROVAL}_change", approval.pk)
        ada.page.click("input[value='Approve, and do it']")
        assert "Approved, and done." in ada.page.inner_text(".messagelist")
        if button != "Approve, and do it":
            eve.page.fill("[name=reason]", "look again")
        eve.page.click(f"input[value='{button}']")
        assert "decided already" in eve.page.inner_text("#content")
        assert said in eve.page.inner_text("#content")
    assert IdempotencyApproval.objects.get().approver == "ada"
    assert sorted(events()) == ["approve", "release", "request"]


def test_of_two_bulk_acts_on_the_same_rows_one_does_each(visit, javascript):
    for _ in range(2):
        stored("processing")
    pages = []
    for name in ("ada", "bob"):
        page = visit(*EVERYTHING, name=name, javascript=javascript)
        page.go(f"{RECORD}_changelist")
        page = page.page
        for box in page.locator("input.action-select").all():
            box.check()
        page.select_option("select[name=action]", "bulk_release")
        page.click("button[name=index]")
        page.fill("#idem-reason", f"deploy 7, says {name}")
        pages.append(page)
    for page, said in zip(pages, ("2 done", "2 have gone"), strict=True):
        page.click("input.default")
        if not javascript and page.locator("input[value='Go on']").count():
            # By itself only where there are scripts.
            page.click("input[value='Go on']")
        page.wait_for_selector(f"text={said}")
    assert events("act", "actor") == [("release", "ada")] * 2
