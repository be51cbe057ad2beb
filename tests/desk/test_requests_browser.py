"""The list of requests and the page of one, in a real browser."""

import pytest

from tests.desk.conftest import VIEW
from tests.desk.situations import trouble

LIST = "django_idempotency_idempotencyrecord_changelist"
PAGE = "django_idempotency_idempotencyrecord_change"


@pytest.fixture
def requests(transactional_db):
    """A day's requests, with all kinds of trouble."""
    return trouble()


def test_from_the_list_to_the_page_of_a_request_and_what_it_holds(visit, javascript, requests):
    visitor = visit(*VIEW, "view_payload", javascript=javascript)
    visitor.go(LIST)
    visitor.page.click('#changelist-filter a[href*="state=unknown"]')
    visitor.page.fill("#searchbar", requests["refused"].key)
    visitor.page.press("#searchbar", "Enter")
    visitor.page.click(".idem-key")
    assert "another amount" in visitor.page.inner_text(".idem-told")
    assert "4111111111111111" not in visitor.page.inner_text("#content-main")
    assert visitor.page.locator(".idem-copy >> nth=0").is_visible() is javascript
    visitor.page.click("text=Show it unmasked")
    visitor.page.fill("#idem-reason", "the customer called")
    visitor.page.click("input[value=Show]")
    assert "4111111111111111" in visitor.page.inner_text("#content-main")
    assert "the customer called" in visitor.page.inner_text(".idem-timeline")


def test_axe_finds_nothing_and_screenshots_are_kept(visit, requests):
    visitor = visit(*VIEW, "view_payload", "export")
    visitor.go(LIST)
    assert visitor.violations() == []
    visitor.shoot("requests")
    visitor.go(PAGE, requests["refused"].pk)
    visitor.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert visitor.violations() == []
    visitor.shoot("request")
    visitor.go(PAGE, requests["operation"].pk)
    assert visitor.violations() == []
    visitor.shoot("operation")


def test_a_click_copies_the_key(visit, requests):
    visitor = visit(*VIEW)
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.go(PAGE, requests["refused"].pk)
    visitor.page.click(".idem-facts .idem-copy")
    assert visitor.page.evaluate("navigator.clipboard.readText()") == requests["refused"].key


def test_what_clients_have_sent_runs_nowhere(visit, requests):
    """The policy would complain of any script; the visitor's complaints fail the test."""
    visitor = visit(*VIEW, "view_payload")
    visitor.go(LIST)
    visitor.go(PAGE, requests["hostile"].pk)
    assert "<script>" in visitor.page.inner_text("#content-main")
    assert visitor.page.locator("#content-main script").count() == 0
