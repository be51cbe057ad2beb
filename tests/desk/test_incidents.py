"""The inbox of incidents, at Django's test client."""

import html
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_idempotency import inbox
from django_idempotency.models import IdempotencyIncident
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, SCRIPT, hostile, incident
from tests.resolution.people import events
from tests.support.records import stored

pytestmark = pytest.mark.django_db

INBOX = reverse("admin:django_idempotency_idempotencyincident_changelist")
Kind = IdempotencyIncident.Kind


def page_of(found, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencyincident_{kind}", args=[found.pk])


def seen(key, amount=None, currency="EUR", kind=Kind.FAILED, age=HOUR, **columns):
    """An incident with this key; None is an unknown amount."""
    money = {"amount": None if amount is None else Decimal(amount), "currency": currency}
    record = stored("processing", key=key)
    return incident(record, kind, first_seen=timezone.now() - age, **money, **columns)


def closed(key, ago=HOUR, **columns):
    return seen(key, healed_at=timezone.now() - ago, **columns)


def keys(response):
    return re.findall(r'class="idem-key" title="([^"]*)"', response.content.decode())


@pytest.fixture
def staff(staff_client):
    return staff_client(*VIEW)


@pytest.fixture
def finance(staff_client):
    return staff_client(*VIEW, "resolve")


class TestOrder:
    def test_of_one_currency_the_largest_is_first_and_of_equal_ones_the_oldest(self, staff):
        seen("young", 5)
        seen("old", 5, age=3 * HOUR)
        seen("large", 70)
        assert keys(staff.get(INBOX)) == ["large", "old", "young"]

    def test_amounts_of_different_currencies_are_not_compared(self, staff):
        seen("yen", 9000, "JPY")
        seen("small", 5)
        seen("large", 7)
        assert keys(staff.get(INBOX)) == ["large", "small", "yen"]

    def test_however_a_client_writes_a_currency_it_is_the_same(self, staff):
        for key, amount, currency in (
            ("small", 5, "EUR"),
            ("yen", 9000, "JPY"),
            ("large", 700, "eur"),
            ("mid", 7, "EUR"),
        ):
            seen(key, amount, currency)
        assert keys(staff.get(INBOX)) == ["large", "mid", "small", "yen"]

    def test_what_has_no_amount_comes_last(self, staff):
        seen("none", age=9 * HOUR)
        seen("nil", 0)
        assert keys(staff.get(INBOX)) == ["nil", "none"]

    def test_each_kind_stands_under_its_heading(self, staff):
        seen("a", 900, kind=Kind.UNKNOWN)
        seen("b", 1, kind=Kind.MISMATCH)
        seen("c", 1, kind=Kind.MISMATCH)
        shown = html.unescape(staff.get(INBOX).content.decode())
        assert keys(staff.get(INBOX)) == ["b", "c", "a"]
        assert 'Another payload under the same key <span class="idem-count">2</span>' in shown
        assert 'Its outcome is unknown <span class="idem-count">1</span>' in shown
        assert Kind.FAILED.label.capitalize() not in shown

    def test_what_is_closed_is_listed_apart_the_last_first(self, staff):
        closed("earlier", ago=2 * HOUR)
        closed("later", kind=Kind.MISMATCH)
        seen("open")
        assert keys(staff.get(INBOX)) == ["open"]
        assert keys(staff.get(INBOX, {"state": "closed"})) == ["later", "earlier"]

    def test_an_empty_inbox_says_so(self, staff):
        assert b"Nothing here needs anybody." in staff.get(INBOX).content


class TestFilters:
    def test_by_kind(self, staff):
        seen("failed")
        seen("mismatch", kind=Kind.MISMATCH)
        assert keys(staff.get(INBOX, {"kind": "mismatch"})) == ["mismatch"]
        closed("closed", kind=Kind.MISMATCH)
        closed("other")
        assert keys(staff.get(INBOX, {"kind": "mismatch", "state": "closed"})) == ["closed"]

    def test_mine_and_nobodys(self, staff_user, client):
        user = staff_user(*VIEW)
        client.force_login(user)
        seen("mine", assignee="ada", assignee_id=str(user.pk))
        seen("hers", assignee="bob", assignee_id=str(user.pk + 1))
        seen("nobodys")
        assert keys(client.get(INBOX, {"assigned": "me"})) == ["mine"]
        assert keys(client.get(INBOX, {"assigned": "nobody"})) == ["nobodys"]

    @override_settings(IDEMPOTENCY={"default": {}, "shop": {"NAMESPACE": "shop"}})
    def test_by_namespace(self, staff):
        seen("here")
        seen("there", namespace="shop")
        assert keys(staff.get(INBOX, {"namespace": "shop"})) == ["there"]

    def test_nonsense_is_no_error(self, staff):
        seen("open")
        asked = {"kind": "x", "state": "x", "assigned": "x", "namespace": "x", "p": "1", "unheard": "of"}
        assert staff.get(INBOX, asked).status_code == 200
        assert keys(staff.get(INBOX, {"p": "-7", "kind": "failed"})) == ["open"]


class TestLarge:
    def test_each_kind_is_cut_and_leads_to_all_of_it_page_by_page(self, staff):
        for number in range(60):
            seen(f"{number:02}", 100 - number)
        seen("unknown", kind=Kind.UNKNOWN)
        first = staff.get(INBOX)
        assert keys(first) == [f"{number:02}" for number in range(10)] + ["unknown"]
        assert b'href="?kind=failed"' in first.content
        assert keys(staff.get(INBOX, {"kind": "failed"})) == [f"{number:02}" for number in range(50)]
        last = staff.get(INBOX, {"kind": "failed", "p": 2})
        assert keys(last) == [f"{number:02}" for number in range(50, 60)]
        assert b'rel="prev"' in last.content
        assert b'rel="next"' not in last.content

    def test_no_more_are_counted_than_looked_at(self, staff, monkeypatch):
        monkeypatch.setattr(inbox, "LOOKED_AT", 3)
        for number in range(5):
            seen(f"{number}", number, age=timedelta(hours=9 - number))
        shown = staff.get(INBOX)
        assert keys(shown) == ["2", "1", "0"]
        assert b"3+" in shown.content
        assert b"Of more than 3, the oldest 3." in shown.content

    def test_the_queries_do_not_grow_with_the_incidents(self, staff, django_assert_num_queries):
        staff.get(INBOX)
        for number in range(30):
            seen(f"{number}", number, kind=Kind.values[number % 4])
        # The session, the user, what the user may; each kind, and what is shown of all of them.
        with django_assert_num_queries(9) as queries:
            staff.get(INBOX)
        asked = [query["sql"] for query in queries if "_idempotencyincident" in query["sql"]]
        assert len(asked) == 5
        assert all("LIMIT 1001" in sql for sql in asked[:4])
        assert "request_body" not in " ".join(asked)

    def test_the_queries_for_closed_ones_are_two(self, staff, django_assert_num_queries):
        closed("a")
        staff.get(INBOX)
        with django_assert_num_queries(6):
            staff.get(INBOX, {"state": "closed"})


class TestPermissions:
    def test_without_the_permission_to_view_there_is_nothing(self, staff_client):
        client = staff_client("view_idempotencyrecord", "resolve", "replay", "view_payload")
        found = seen("k")
        assert client.get(INBOX).status_code == 403
        assert client.get(page_of(found)).status_code == 403
        for act in ("unmask", "assign", "reopen"):
            assert client.post(page_of(found, act), {"reason": "r", "seen": ""}).status_code == 403
        assert events() == []

    def test_who_may_do_nothing_takes_nothing(self, staff):
        found = seen("k")
        assert b"Assign to me" not in staff.get(INBOX).content
        assert b"Assign to me" not in staff.get(page_of(found)).content
        assert staff.post(page_of(found, "assign"), {"seen": ""}).status_code == 403

    def test_who_may_not_resolve_opens_nothing_again(self, staff_client):
        client, found = staff_client(*VIEW, "replay", "release"), closed("k")
        assert b"Open it again" not in client.get(page_of(found)).content
        assert client.post(page_of(found, "reopen"), {"reason": "more"}).status_code == 403

    def test_a_page_is_not_changed_by_a_post(self, finance):
        assert finance.post(page_of(seen("k")), {"kind": "failed"}).status_code == 403

    def test_acts_are_posted(self, finance):
        found = seen("k")
        assert {finance.get(page_of(found, act)).status_code for act in ("unmask", "assign", "reopen")} == {405}

    def test_a_form_of_another_site_is_refused(self, staff_user, client):
        client.force_login(staff_user(*VIEW, "resolve"))
        client.handler.enforce_csrf_checks = True
        assert client.post(page_of(seen("k"), "assign"), {"seen": ""}).status_code == 403


class TestAssigning:
    def test_it_is_taken_from_the_inbox_which_is_shown_again(self, finance):
        found = seen("k")
        answer = finance.post(page_of(found, "assign"), {"seen": "", "next": f"{INBOX}?kind=failed"})
        assert answer.headers["Location"] == f"{INBOX}?kind=failed"
        found.refresh_from_db()
        assert found.assignee == "ada"
        assert events("act", "actor", "address") == [("assign", "ada", "127.0.0.1")]
        assert b"Assign to me" not in finance.get(INBOX).content

    @pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
    def test_nobody_is_sent_elsewhere(self, finance, target):
        found = seen("k")
        answer = finance.post(page_of(found, "assign"), {"seen": "", "next": target})
        assert answer.headers["Location"] == page_of(found)

    def test_of_two_who_take_it_one_is_told_who_was_faster(self, staff_client):
        found = seen("k")
        staff_client(*VIEW, "resolve", name="bob").post(page_of(found, "assign"), {"seen": ""})
        answer = staff_client(*VIEW, "release").post(page_of(found, "assign"), {"seen": ""})
        assert answer.status_code == 409
        assert b"It has been changed since it was read" in answer.content
        assert b"bob: assigned the incident" in answer.content
        found.refresh_from_db()
        assert found.assignee == "bob"

    def test_it_is_left_to_others(self, finance):
        found = seen("k")
        finance.post(page_of(found, "assign"), {"seen": ""})
        assert b"Leave it to others" in finance.get(page_of(found)).content
        finance.post(page_of(found, "assign"), {"seen": "ada", "leave": "1"})
        found.refresh_from_db()
        assert (found.assignee, found.assignee_id) == ("", "")

    def test_what_is_gone_is_not_found(self, finance):
        found = seen("k")
        IdempotencyIncident.objects.all().delete()
        assert finance.post(page_of(found, "assign"), {"seen": ""}).status_code == 404
        assert finance.get(page_of(found)).status_code == 302


class TestOpeningAgain:
    def test_it_is_open_again_with_a_reason(self, finance):
        found = closed("k", decision="close")
        assert finance.post(page_of(found, "reopen"), {"reason": "it was not"}).status_code == 302
        found.refresh_from_db()
        assert (found.healed_at, found.decision) == (None, "")
        assert events("act", "reason") == [("reopen", "it was not")]

    def test_not_without_a_reason(self, finance):
        found = closed("k")
        assert finance.post(page_of(found, "reopen"), {"reason": " "}).status_code == 409
        assert events() == []

    def test_who_is_slower_is_told_who_was_faster(self, staff_client, finance):
        found = closed("k")
        staff_client(*VIEW, "resolve", name="bob").post(page_of(found, "reopen"), {"reason": "mine"})
        answer = finance.post(page_of(found, "reopen"), {"reason": "more", "since": "0"})
        assert answer.status_code == 409
        assert "bob: opened the incident again (mine)" in html.unescape(answer.content.decode())


def test_what_clients_have_sent_runs_nowhere(staff):
    hostile()
    for shown in (staff.get(INBOX), staff.get(page_of(IdempotencyIncident.objects.get()))):
        assert SCRIPT.encode() not in shown.content
        assert html.escape(SCRIPT).encode() in shown.content
        assert "\u202e".encode() not in shown.content


class TestBulk:
    def offered(self, client):
        return set(re.findall(r'<option value="bulk_(\w+)"', client.get(INBOX).content.decode()))

    def test_each_member_of_staff_is_offered_what_he_may_do(self, staff_client, staff):
        seen("k")
        finance, on_call = staff_client(*VIEW, "resolve", name="finance"), staff_client(*VIEW, "replay", name="on-call")
        assert self.offered(finance) == {"original_stands", "client_error", "close"}
        assert self.offered(on_call) == {"replay"}
        assert self.offered(staff) == set()
        assert b"action-select" not in staff.get(INBOX).content

    def test_what_is_ticked_is_shown_before_it_is_done(self, finance):
        ticked, other = seen("ticked", 5), seen("other", 5)
        posted = {"action": "bulk_close", "_selected_action": [ticked.pk]}
        shown = finance.post(INBOX, posted).content.decode()
        assert ticked.key in shown
        assert other.key not in shown
        assert events() == []
