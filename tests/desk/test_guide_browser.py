"""
The operator's guide, walked in a real browser: each task from the dashboard in at most four clicks.

Each walk takes the guide's pictures, into the artefacts. With IDEMPOTENCY_GUIDE=1, those in docs/_static/operators are
taken anew; on SQLite, where the desk has no clock but ours, it stands still, so that they show the same time and again.
"""

import os
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from django_idempotency.models import IdempotencyEvent, IdempotencyIncident, IdempotencyRecord
from django_idempotency.rollups import series
from tests.desk import figures, guide_shop
from tests.desk.browsers import ARTEFACTS
from tests.desk.conftest import VIEW

pytestmark = pytest.mark.urls("tests.desk.guide_shop")

DASHBOARD = "django_idempotency_idempotencyrollup_changelist"
LOOK = (*VIEW, "view_idempotencyrollup")
MOST_CLICKS = 4
WIDTH = 1100
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "_static" / "operators"


class Walk:
    """One task: from the dashboard, by links and buttons, which are counted. What is typed is not."""

    def __init__(self, visitor):
        self.visitor = visitor
        self.page = visitor.page
        self.clicks = 0
        self.page.set_viewport_size({"width": WIDTH, "height": 800})
        visitor.go(DASHBOARD)

    def click(self, role, name, *, first=False):
        found = self.page.get_by_role(role, name=name)
        (found.first if first else found).click()
        self.clicks += 1

    def says(self, *texts):
        """What there is to see now."""
        shown = self.page.inner_text("#content")
        assert [text for text in texts if text not in shown] == []

    def shoot(self, name, height, *, foot=False):
        """A picture of the head of the page, or of its foot, for the guide."""
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.page.evaluate("document.activeElement.blur()")
        self.page.locator("#footer" if foot else "#header").scroll_into_view_if_needed()
        folder = PICTURES if os.environ.get("IDEMPOTENCY_GUIDE") else artefacts()
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png")


def artefacts():
    return Path(os.environ.get("IDEMPOTENCY_ARTEFACTS") or ARTEFACTS) / "operators"


@pytest.fixture
def clock(monkeypatch):
    """Stands still where it is ours, on SQLite."""
    clock = guide_shop.Clock()
    if connection.vendor != "sqlite":
        return clock

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return clock.at.astimezone(tz)

    monkeypatch.setattr("django.utils.timezone.datetime", Stopped)
    for module in (series, figures):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock.at.timestamp))
    return clock


@pytest.fixture
def desk(django_db_reset_sequences, clock):
    """What the guide finds at the desk, under the same numbers every time."""
    with override_settings(IDEMPOTENCY={"default": guide_shop.PROFILE}, TIME_ZONE="UTC"):
        yield guide_shop.morning(clock)


@pytest.fixture
def walk(desk, visit):
    """A member of staff with these permissions, at the dashboard; no walk may be longer than the guide says."""
    walks = []

    def begin(*codenames, name="ada"):
        walks.append(Walk(visit(*LOOK, *codenames, name=name)))
        return walks[-1]

    yield begin
    assert [walk.clicks for walk in walks if not 0 < walk.clicks <= MOST_CLICKS] == []


def test_find_a_customers_stuck_payment(walk, desk):
    figures.week_of_counts()
    sam = walk(name="sam")
    sam.shoot("dashboard", 780)
    sam.click("link", "In flight")
    sam.page.fill("#searchbar", desk.stuck.key)
    sam.click("button", "Search")
    sam.click("link", desk.stuck.key)
    sam.says("Claimed 41 min ago, and not answered yet.", "32.00 EUR", f"user:{guide_shop.CUSTOMER}")
    sam.shoot("stuck-payment", 590)


def test_explain_a_422(walk, desk):
    sam = walk(name="sam")
    sam.click("link", "Mismatches")
    sam.click("link", desk.refused.key)
    sam.says("over 48.50 EUR", "over 84.50 EUR, no money has moved", "/amount")
    sam.shoot("refused-payment", 600)


def test_settle_a_mismatch(walk, desk):
    maria = walk("resolve", "view_payload", name="maria")
    maria.click("link", "Mismatches")
    maria.click("link", desk.refused.key)
    maria.click("link", "Let the first request stand")
    maria.page.fill("[name=reason]", "ticket 8120: the customer has changed her order, and wants the first one")
    maria.shoot("settle", 420)
    maria.click("button", "Let the first request stand")
    maria.says("closed", "let the first request stand", "ticket 8120")
    desk.refused.refresh_from_db()
    assert (desk.refused.decision, desk.refused.healed_at is None) == ("original-stands", False)


def test_run_a_crashed_payment_again(walk, desk):
    otto = walk("release", "replay", name="otto")
    otto.click("link", "Abandoned", first=True)
    otto.click("link", desk.crashed.key)
    otto.says("129.00 EUR was not booked here")
    otto.shoot("crashed-payment", 540)
    otto.click("link", "Run it again")
    otto.page.fill("[name=reason]", "ticket 8121: nothing has arrived at the gateway, and the customer waits")
    otto.click("button", "Run it again")
    otto.says("It was run. This is what every retry gets from now on.", "Answer 201", "129.00")
    otto.shoot("run-again", 540)
    assert IdempotencyRecord.objects.get(key=desk.crashed.key).status == 201
    assert not IdempotencyIncident.objects.filter(key=desk.crashed.key, healed_at=None).exists()


def test_prove_who_did_what(walk, desk):
    ina = walk("view_idempotencyevent", "export", name="ina")
    ina.click("link", "Time to resolution")
    ina.click("link", desk.settled.key)
    ina.says("maria", "looked at it unmasked", "ticket 8114: which amount did she see?", "let the first request stand")
    ina.shoot("who-did-what", 440, foot=True)
    assert {"reveal", "original-stands"} < set(IdempotencyEvent.objects.values_list("act", flat=True))
    call_command("idempotency_audit", "--verify")
