"""Acts, approvals and bulk acts in a real browser."""

from decimal import Decimal

import pytest
from django.test import override_settings

from django_idempotency import approvals, resolution
from django_idempotency.models import IdempotencyBulkRow, IdempotencyRecord
from django_idempotency.resolution import NeedsApproval
from tests.desk.conftest import VIEW
from tests.desk.situations import DAY, operation
from tests.resolution.people import BOB, events
from tests.support.records import stored

RECORD = "django_idempotency_idempotencyrecord"
EVERYTHING = (*VIEW, "view_idempotencyapproval", "release", "replay", "resolve", "view_payload", "approve")


def dead(**columns):
    return stored("processing", amount=Decimal("48.50"), currency="EUR", path="/api/payments/", **columns)


def test_one_asks_and_another_approves(visit, javascript):
    record = dead()
    with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"release": None}}}):
        ada = visit(*EVERYTHING, javascript=javascript)
        ada.go(f"{RECORD}_change", record.pk)
        ada.page.click("text=Free the key")
        ada.page.fill("textarea[name=reason]", "its process was killed")
        ada.page.click("input[value='Ask for approval']")
        assert "another person has to approve it" in ada.page.inner_text("#content-main")
        bob = visit(*EVERYTHING, name="bob", javascript=javascript)
        bob.go("django_idempotency_idempotencyapproval_changelist")
        bob.page.click("#result_list a >> text=Free the key")
        bob.page.click("input[value='Approve, and do it']")
        assert "Approved, and done." in bob.page.inner_text(".messagelist")
    assert not IdempotencyRecord.objects.exists()
    assert sorted(events()) == ["approve", "release", "request"]


def test_several_are_chosen_previewed_and_done(visit, javascript):
    dead()
    dead()
    ada = visit(*EVERYTHING, javascript=javascript)
    ada.go(f"{RECORD}_changelist")
    for box in ada.page.locator("input.action-select").all():
        box.check()
    ada.page.select_option("select[name=action]", "bulk_release")
    ada.page.click("button[name=index]")
    assert "97.00 EUR" in ada.page.inner_text("#content-main")
    ada.page.fill("#idem-reason", "deploy 7 has died")
    ada.page.click("input[value='Free the key (2)']")
    if not javascript:
        ada.page.click("input[value='Go on']")
    ada.page.wait_for_selector("text=2 done")
    assert set(IdempotencyBulkRow.objects.values_list("state", flat=True)) == {"done"}


def look(visitor, name):
    assert visitor.violations() == []
    visitor.shoot(name)
    visitor.page.set_viewport_size({"width": 1440, "height": 900})


def test_axe_finds_nothing_on_acts_and_approvals(visit):
    unknown, call = stored("unknown", claimed_at=2 * DAY, amount=Decimal(900), currency="EUR"), operation()
    ada = visit(*EVERYTHING)
    for name, record, act in (("act", call, "approved"), ("act-refused", unknown, "release")):
        ada.go(f"{RECORD}_act", record.pk, act)
        look(ada, name)
    with override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"happened": None}}}):
        said = {"status": 201, "body": '{"id": 7}', "reference": "payment 7", "evidence": "the ledger, line 7"}
        with pytest.raises(NeedsApproval) as needs:
            resolution.happened(unknown.pk, **said, actor=BOB)
    approval = approvals.request(needs.value)
    ada.go("django_idempotency_idempotencyapproval_changelist")
    look(ada, "approvals")
    ada.go("django_idempotency_idempotencyapproval_change", approval.pk)
    look(ada, "approval")
    ada.go(f"{RECORD}_change", call.pk)
    look(ada, "request-with-acts")


def test_axe_finds_nothing_on_bulk_acts(visit):
    for make in (dead, dead, dead, operation):
        make()
    ada = visit(*EVERYTHING)
    ada.go(f"{RECORD}_changelist")
    ada.page.check("#action-toggle")
    ada.page.select_option("select[name=action]", "bulk_release")
    ada.page.click("button[name=index]")
    look(ada, "bulk-preview")
    ada.page.fill("#idem-reason", "deploy 7 has died")
    ada.page.click("input.default")
    ada.page.wait_for_selector("text=3 done")
    look(ada, "bulk")
