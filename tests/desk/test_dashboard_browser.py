"""The dashboard in a real browser: from a tile to its list, from an hour to a week, and the table beside each chart."""

import pytest
from playwright.sync_api import expect

from tests.desk.conftest import VIEW
from tests.desk.figures import day_of_trouble

DASHBOARD = "django_idempotency_idempotencyrollup_changelist"


@pytest.fixture
def visitor(visit, javascript):
    day_of_trouble()
    return visit(*VIEW, "view_idempotencyrollup", javascript=javascript)


def test_from_the_first_entry_of_the_app_to_a_list_and_to_a_week_of_charts(visitor, javascript):
    visitor.page.goto(f"{visitor.origin}/admin/django_idempotency/")
    visitor.page.locator("#content-main .module a[href*=rollup]").first.click()
    expect(visitor.page.locator(".idem-tiles")).to_have_count(2)
    visitor.page.get_by_role("link", name="Mismatches 2").click()
    expect(visitor.page.locator("#result_list tbody .idem-key")).to_have_count(2)
    visitor.page.go_back()
    visitor.page.get_by_role("link", name="Last 24 hours").click()
    if javascript:
        visitor.shoot("dashboard-day")
    visitor.page.get_by_role("link", name="Last 7 days").click()
    chart = visitor.page.locator("#chart-replays")
    assert "in all" in chart.get_by_role("img").text_content()
    chart.get_by_text("As a table").click()
    assert chart.locator("tbody tr").first.is_visible()
    if javascript:
        assert visitor.violations() == []
        visitor.shoot("dashboard-week")


def test_the_keyboard_reaches_every_tile_span_and_table(visit):
    day_of_trouble()
    visitor = visit(*VIEW, "view_idempotencyrollup")
    visitor.go(DASHBOARD)
    reached = set()
    for _ in range(60):
        visitor.page.keyboard.press("Tab")
        reached.add(visitor.page.evaluate("document.activeElement.closest('li, figure')?.innerText.split('\\n')[0]"))
    for place in ("Mismatches", "Unknown", "Time to resolution", "Last 7 days", "Refusals"):
        assert place in reached
