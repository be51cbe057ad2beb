"""The page of an incident, of a mismatch above all, at Django's test client."""

import html
import json
import re

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings
from django.urls import reverse

from django_idempotency import resolution
from django_idempotency.encryption import sealed
from django_idempotency.models import IdempotencyIncident
from tests.desk.conftest import VIEW
from tests.desk.situations import CARD, HOUR, JSON, OVERRIDE, SCRIPT, answered, incident, operation
from tests.resolution.people import BOB, events

pytestmark = pytest.mark.django_db

Kind = IdempotencyIncident.Kind
KEYS = [Fernet.generate_key().decode()]
OTHER = {**CARD, "amount": "21.00", "card": {"number": "5555555555554444", "holder": "Ada"}}
FORM = '[["Content-Type", "application/x-www-form-urlencoded"]]'


def page_of(found, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencyincident_{kind}", args=[found.pk])


def mismatch(first=CARD, other=OTHER, headers=JSON, **columns):
    """A key that was used for two payloads: bytes, or what is written as JSON."""
    bodies = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in (first, other)]
    stored = {"first_body": bodies[0], "request_body": bodies[1], "first_headers": headers, "request_headers": headers}
    return incident(answered(HOUR), Kind.MISMATCH, **{"amount": "21.00", "request_whole": True, **stored, **columns})


@pytest.fixture
def staff(staff_client):
    return staff_client(*VIEW)


@pytest.fixture
def content(staff):
    return lambda found, **asked: html.unescape(staff.get(page_of(found), asked).content.decode())


def rows(shown):
    """The cells of the table of differences, by pointer."""
    found = re.findall(r'<tr class="idem-[\w-]+">(.*?)</tr>', shown)
    cells = [[html.unescape(cell) for cell in re.findall(r"<(?:code|td)>([^<]*)</", row)] for row in found]
    return {cell[0]: cell[1:] for cell in cells}


class TestWords:
    def test_a_mismatch_explains_itself(self, content):
        shown = content(mismatch())
        assert "Another request came under the same key and was refused. The first one: Answered 201 after" in shown
        assert (
            "Only the first one counts, over 12.00 EUR. For the other one, over 21.00 EUR, no money has moved." in shown
        )
        assert "Compare the two." in shown

    def test_so_does_a_failure(self, content):
        record = answered(HOUR)
        found = incident(record, Kind.FAILED, error="GatewayTimeout", counter=2)
        record.delete()
        shown = content(found)
        assert "It failed 2 times, the last time with GatewayTimeout. The key is free" in shown
        assert "12.00 EUR was not booked here." in shown

    def test_so_does_what_was_abandoned(self, content):
        record = answered(HOUR, amount=None)
        found = incident(record, Kind.ABANDONED, error="")
        record.delete()
        shown = content(found)
        assert "Whoever ran it died" in shown
        assert "An unknown amount was not booked here." in shown

    def test_so_does_an_unknown_outcome_before_and_after_it_is_known(self, content):
        operation()
        shown = content(IdempotencyIncident.objects.get(kind=Kind.UNKNOWN))
        assert "480.00 EUR may have been taken, or not." in shown
        shown = content(incident(answered(HOUR), Kind.UNKNOWN))
        assert "Its outcome is known by now." in shown

    def test_what_is_closed_says_how(self, content):
        found = mismatch()
        said = {"reason": "paid by hand", "actor": BOB, "counter": 1}
        resolution.settled_outside(found.pk, reference="bank 12", **said)
        shown = content(found)
        assert "It was decided: settled in another way (bank 12)." in shown
        assert "There is nothing left to do." in shown
        assert "paid by hand" in shown


class TestDifferences:
    def test_both_payloads_stand_side_by_side_masked(self, content):
        shown = content(mismatch())
        assert '"number": "****1111"' in shown
        assert '"number": "****4444"' in shown
        assert "4111111111111111" not in shown
        assert "5555555555554444" not in shown

    def test_what_differs_is_told_by_pointer(self, content):
        shown = content(mismatch())
        assert rows(shown) == {
            "/amount": ['"12.00"', '"21.00"', "changed"],
            "/card/number": ['"****1111"', '"****4444"', "changed"],
        }
        assert "3 fields are the same in both." in shown

    def test_all_fields_are_shown_on_demand(self, content):
        shown = content(mismatch(), fields="all")
        assert rows(shown)["/currency"] == ['"EUR"', '"EUR"', "same"]
        assert "Show only what differs" in shown

    def test_what_is_masked_in_both_may_differ(self, content):
        shown = content(mismatch({"password": "a"}, {"password": "b"}))
        assert rows(shown) == {"/password": ['"[masked]"', '"[masked]"', "masked, may differ"]}

    def test_the_raw_view_is_as_it_was_written_but_for_what_is_masked(self, content):
        found = mismatch(b'{"a" :  1}', b'{"a" :  2, "pin":  3}')
        assert '{"a" :  1}' in content(found, view="raw")
        assert '{"a":2,"pin":"[dropped]"}' in content(found, view="raw")
        assert '{"a" :  1}' not in content(found)

    def test_fields_of_forms_are_compared(self, content):
        shown = content(mismatch(b"amount=12&size=M", b"amount=21&size=M", FORM))
        assert rows(shown) == {"/amount": ['"12"', '"21"', "changed"]}

    @pytest.mark.parametrize("other", [b"\xff\xfe\x00", b"<pay>21</pay>"])
    def test_what_is_no_json_is_not_compared(self, content, other):
        assert "They cannot be compared field by field" in content(mismatch(CARD, other))

    def test_nor_is_what_was_not_stored(self, content):
        found = mismatch()
        IdempotencyIncident.objects.update(first_body=None)
        assert "They cannot be compared field by field" in content(found)

    def test_a_flood_of_fields_is_cut_and_said_to_be(self, content):
        shown = content(mismatch([1] * 200_000, [2] * 200_000))
        assert len(rows(shown)) == 500
        assert "There is more than is compared here." in shown
        assert len(shown) < 300_000

    def test_nothing_that_was_sent_runs_or_turns_the_direction_of_reading(self, staff):
        found = mismatch({SCRIPT: SCRIPT, "name": OVERRIDE}, {SCRIPT: OVERRIDE, "name": SCRIPT}, scope=SCRIPT)
        for asked in ({}, {"view": "raw"}, {"fields": "all"}):
            shown = staff.get(page_of(found), asked).content.decode()
            assert "<script>alert" not in shown
            assert "<img src=x" not in shown
            assert "\u202e" not in shown

    def test_the_queries_are_few(self, staff, django_assert_num_queries):
        found = mismatch()
        staff.get(page_of(found))
        # The session, the user, what the user may (2); the incident, its record, events, what waits, what fits it.
        with django_assert_num_queries(9):
            staff.get(page_of(found))


class TestUnmasking:
    def test_it_shows_both_and_compares_what_was_masked(self, staff_client):
        client, found = staff_client(*VIEW, "view_payload"), mismatch({"password": "a"}, {"password": "b"})
        shown = client.post(page_of(found, "unmask"), {"reason": "the customer called"}).content.decode()
        assert rows(shown) == {"/password": ['"a"', '"b"', "changed"]}
        assert events("act", "incident_id", "reason") == [("reveal", found.pk, "the customer called")]
        assert "the customer called" in shown

    @override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": KEYS}})
    def test_of_what_is_encrypted_too(self, staff_client):
        (first, under), (other, _) = (sealed(json.dumps(body).encode(), KEYS) for body in (CARD, OTHER))
        client = staff_client(*VIEW, "view_payload")
        found = mismatch(first, other, first_key_id=under, request_key_id=under)
        shown = client.get(page_of(found)).content.decode()
        assert rows(shown)["/card/number"] == ['"****1111"', '"****4444"', "changed"]
        shown = client.post(page_of(found, "unmask"), {"reason": "the customer called"}).content.decode()
        assert rows(shown)["/card/number"] == ['"4111111111111111"', '"5555555555554444"', "changed"]

    def test_not_without_a_reason(self, staff_client):
        client, found = staff_client(*VIEW, "view_payload"), mismatch()
        shown = client.post(page_of(found, "unmask"), {"reason": " "}).content.decode()
        assert "4111111111111111" not in shown
        assert events() == []

    def test_not_without_the_permission(self, staff_client):
        client, found = staff_client(*VIEW, "resolve", "replay"), mismatch()
        assert b"unmasked" not in client.get(page_of(found)).content
        assert client.post(page_of(found, "unmask"), {"reason": "r"}).status_code == 403


class TestActs:
    def offered(self, client, found):
        return set(re.findall(r'class="button" href="[^"]*/act/([\w-]+)/', client.get(page_of(found)).content.decode()))

    def test_each_member_of_staff_is_offered_what_he_may_do(self, staff_client, staff):
        found = mismatch()
        finance, on_call = staff_client(*VIEW, "resolve", name="finance"), staff_client(*VIEW, "replay", name="on-call")
        assert self.offered(finance, found) == {"original-stands", "client-error", "settled-outside"}
        assert self.offered(on_call, found) == {"run-refused"}
        assert self.offered(staff, found) == set()

    def test_what_is_not_whole_is_not_run(self, staff_client):
        assert self.offered(staff_client(*VIEW, "replay"), mismatch(request_whole=False)) == set()

    def test_of_what_is_closed_nothing_is_offered(self, staff_client):
        found = mismatch()
        resolution.client_error(found.pk, counter=1, reason="a bug", actor=BOB)
        assert self.offered(staff_client(*VIEW, "resolve", "replay"), found) == set()

    def test_of_an_unknown_outcome_what_its_record_needs(self, staff_client):
        operation()
        found = IdempotencyIncident.objects.get(kind=Kind.UNKNOWN)
        assert {"approved", "declined"} <= self.offered(staff_client(*VIEW, "resolve"), found)

    def test_what_has_happened_again_since_the_page_was_shown_is_not_decided(self, staff_client):
        client, found = staff_client(*VIEW, "resolve"), mismatch()
        url = re.search(r'href="([^"]*/act/original-stands/[^"]*)"', client.get(page_of(found)).content.decode())[1]
        IdempotencyIncident.objects.update(counter=2)
        answer = client.get(html.unescape(url))
        assert answer.status_code == 409
        assert b"It has been changed since it was read" in answer.content

    @override_settings(IDEMPOTENCY={"default": {"APPROVALS": {"original-stands": None}}})
    def test_what_waits_for_a_second_person_is_said(self, staff_client):
        client, found = staff_client(*VIEW, "resolve"), mismatch()
        url = re.search(r'href="([^"]*/act/original-stands/[^"]*)"', client.get(page_of(found)).content.decode())[1]
        assert b"This needs a second person" in client.get(html.unescape(url)).content
        client.post(html.unescape(url), {"seen": 1, "reason": "a typing error"})
        shown = html.unescape(client.get(page_of(found)).content.decode())
        assert "ada has asked for “Let the first request stand”. It waits for a second person" in shown
        found.refresh_from_db()
        assert found.healed_at is None
