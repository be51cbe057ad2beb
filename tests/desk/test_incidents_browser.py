"""The inbox and the page of a mismatch, in a real browser."""

import json
from decimal import Decimal

import pytest

from django_idempotency.models import IdempotencyIncident
from tests.desk.conftest import VIEW
from tests.desk.situations import CARD, DAY, HOUR, JSON, answered, incident, trouble

INBOX = "django_idempotency_idempotencyincident_changelist"
PAGE = "django_idempotency_idempotencyincident_change"
MONEY = (("480.00", "EUR"), ("7.50", "EUR"), ("12900", "JPY"), (None, ""))
Kind = IdempotencyIncident.Kind


@pytest.fixture
def mismatch(transactional_db):
    """A day of trouble, and of it a key that was used for two payments."""
    trouble()
    for number, (amount, currency) in enumerate(MONEY):
        columns = {"error": "GatewayTimeout", "counter": number + 1, "currency": currency}
        incident(answered(HOUR), Kind.FAILED, amount=amount and Decimal(amount), **columns)
    incident(answered(DAY), Kind.ABANDONED, assignee="bob", assignee_id="-1")
    other = {**CARD, "amount": "21.00", "reference": "order 1041 b"}
    first, second = (json.dumps(body, ensure_ascii=False).encode() for body in (CARD, other))
    stored = {"first_headers": JSON, "request_headers": JSON, "first_body": first, "request_body": second}
    record = answered(HOUR, key="7f3c0a52-order-1041")
    return incident(record, Kind.MISMATCH, amount=Decimal("21.00"), request_whole=True, counter=3, **stored)


def test_from_the_inbox_to_a_decision(visit, javascript, mismatch):
    visitor = visit(*VIEW, "resolve", javascript=javascript)
    page = visitor.page
    visitor.go(INBOX)
    page.click(f"[aria-label='Assign incident {mismatch.pk} to me']")
    assert "You see to it now." in page.inner_text(".messagelist")
    page.click(f"a[href*='/{mismatch.pk}/change/']")
    assert "Only the first one counts, over 12.00 EUR" in page.inner_text(".idem-briefing")
    assert "/currency" not in page.inner_text(".idem-differences")
    page.click("text=Show all fields")
    assert "/currency" in page.inner_text(".idem-differences")
    page.click("a[href*='/act/original-stands/']")
    page.fill("[name=reason]", "the customer has pressed twice")
    page.click("input[type=submit].default")
    assert "the customer has pressed twice" in page.inner_text(".idem-timeline")
    mismatch.refresh_from_db()
    assert (mismatch.assignee, mismatch.decision) == ("ada", "original-stands")


def test_axe_finds_nothing_and_screenshots_are_kept(visit, mismatch):
    visitor = visit(*VIEW, "resolve", "replay", "view_payload")
    visitor.go(INBOX)
    assert visitor.violations() == []
    visitor.shoot("incidents")
    visitor.go(PAGE, mismatch.pk)
    visitor.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert visitor.violations() == []
    visitor.shoot("mismatch")
