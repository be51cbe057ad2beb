"""The page of one request, at Django's test client."""

import html
import json
import re
import shlex
import subprocess
import uuid

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings
from django.urls import reverse

from django_idempotency.admin.request_pages import as_curl
from django_idempotency.audit import record_event
from django_idempotency.encryption import sealed
from django_idempotency.models import IdempotencyEvent, IdempotencyIncident, IdempotencyRecord
from django_idempotency.payloads import SHOWN, headers
from tests.desk.conftest import VIEW
from tests.desk.situations import CARD, HOUR, JSON, OVERRIDE, SCRIPT, answered, hostile, operation, refused, trouble
from tests.resolution.people import ADA
from tests.support.records import stored

pytestmark = pytest.mark.django_db
KEYS = [Fernet.generate_key().decode(), Fernet.generate_key().decode()]


def page_of(record, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencyrecord_{kind}", args=[record.pk])


@pytest.fixture
def staff(staff_client):
    return staff_client(*VIEW)


@pytest.fixture
def content(staff):
    return lambda record: html.unescape(staff.get(page_of(record)).content.decode())


class TestPage:
    def test_it_has_no_form_to_change_anything(self, staff):
        response = staff.get(page_of(answered(HOUR)))
        assert response.status_code == 200
        assert b'name="_save"' not in response.content
        assert response.content.count(b"<form") == 1  # to log out

    def test_it_says_in_words_what_happened(self, content):
        told = "Answered 201 after 84 ms. It was taken up again 2 times."
        told += " One attempt with another amount (21.00 EUR instead of 12.00 EUR) was refused."
        assert told + " 2 attempts failed, the last one with GatewayTimeout." in content(refused())

    def test_without_the_permission_for_incidents_there_are_none(self, staff_client):
        client = staff_client("view_idempotencyrecord")
        shown = client.get(page_of(refused())).content
        assert b"GatewayTimeout" not in shown
        assert b'id="incidents"' not in shown

    def test_a_record_that_is_gone_is_no_error(self, staff):
        for pk in (uuid.uuid4(), "nonsense"):
            assert staff.get(reverse("admin:django_idempotency_idempotencyrecord_change", args=[pk])).status_code == 302

    def test_nothing_is_unmasked_of_one_that_is_gone(self, staff_client):
        client = staff_client(*VIEW, "view_payload")
        for pk in (uuid.uuid4(), "nonsense"):
            where = reverse("admin:django_idempotency_idempotencyrecord_unmask", args=[pk])
            assert client.post(where, {"reason": "ticket 9"}).status_code == 404

    def test_it_is_never_cached(self, staff):
        assert "no-store" in staff.get(page_of(answered(HOUR))).headers["Cache-Control"]

    def test_every_kind_of_request_has_a_page(self, staff):
        trouble()
        for record in IdempotencyRecord.objects.all():
            assert staff.get(page_of(record)).status_code == 200


class TestMasking:
    def test_cards_and_passwords_are_not_shown_in_request_answer_or_journal(self, content):
        body = json.dumps({**CARD, "password": "s3cret"}).encode()
        shown = content(answered(HOUR, request_body=body, body=body, request_headers=JSON)) + content(operation())
        assert "4111111111111111" not in shown
        assert "s3cret" not in shown
        assert "Größe M" in shown

    def test_nor_in_a_form_or_in_a_text(self, content):
        form = '[["Content-Type", "application/x-www-form-urlencoded"]]'
        posted = answered(HOUR, request_headers=form, request_body=b"name=Ada&password=s3cret&amount=12")
        text = answered(HOUR, headers="[]", body=b"the card was 4111 1111 1111 1111, password=s3cret")
        shown = content(posted) + content(text)
        assert "s3cret" not in shown
        assert "4111 1111" not in shown
        assert "amount=12" in shown

    @override_settings(IDEMPOTENCY={"default": {"MASK": ["/note"]}})
    def test_nor_what_a_profile_masks(self, content):
        assert "Größe M" not in content(operation())

    @pytest.mark.parametrize(
        "body",
        [b'\xef\xbb\xbf{"note": "hers-alone"}', b'{"note": "hers-alone"', b'{"note": "hers-alone"}' + b"[" * 9999],
    )
    def test_nor_where_a_mark_or_what_cannot_be_parsed_would_hide_it(self, content, body):
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": KEYS[:1], "MASK": ["/note"]}}):
            sealed_body, under = sealed(body, KEYS[:1])
            record = answered(HOUR, request_body=sealed_body, request_key_id=under, body=sealed_body, body_key_id=under)
            assert "hers-alone" not in content(record)

    @pytest.mark.parametrize(
        "written", ["application/x-www-form-urlencoded", " Application/X-WWW-Form-URLencoded; q=1"]
    )
    def test_nor_what_a_profile_masks_in_a_form_however_its_type_is_written(self, content, written):
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": KEYS[:1], "MASK": ["/note"]}}):
            body, under = sealed(b"note=hers-alone&amount=1", KEYS[:1])
            of_type = json.dumps([["Content-Type", written]])
            shown = content(answered(HOUR, request_headers=of_type, request_body=body, request_key_id=under))
        assert "hers-alone" not in shown
        assert "amount=1" in shown

    def test_nor_secrets_in_headers_of_the_answer(self, content):
        stored_headers = [["Location", "/receipts?token=s3cret"], ["X-Api-Key", "s3cret"], ["X-Paid", "yes"]]
        shown = content(answered(HOUR, headers=json.dumps(stored_headers)))
        assert "s3cret" not in shown
        assert "/receipts?token=" in shown
        assert "X-Paid" in shown

    @override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": KEYS[:1]}})
    def test_what_is_encrypted_is_shown_masked(self, content):
        body, under = sealed(json.dumps(CARD).encode(), KEYS[:1])
        shown = content(answered(HOUR, request_body=body, request_key_id=under, body=body, body_key_id=under))
        assert shown.count('"number": "****1111"') == 2
        assert "4111111111111111" not in shown

    def test_a_lost_key_is_said_to_be_lost(self, content):
        body, under = sealed(b"{}", KEYS[1:])
        assert f"encrypted under the key {under}, which is not known here" in content(
            answered(HOUR, body=body, body_key_id=under)
        )

    def test_digits_of_an_amount_are_all_there(self, content):
        body = b'{"amount": 100.10, "big": 12345678901234567, "e": 1e400}'
        shown = content(answered(HOUR, body=body))
        assert '"amount": 100.10' in shown
        assert '"e": 1e400' in shown


class TestHostile:
    def test_nothing_runs_and_nothing_turns_the_direction_of_reading(self, staff):
        shown = staff.get(page_of(hostile())).content.decode()
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
        assert "\u202e" not in shown
        assert html.escape(SCRIPT) in shown
        assert "\\u202e" in shown

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"\xff\x00", "2 bytes that are no text"),
            (b"a\0b", "a\\x00b"),
            (b'{"a": "\\ud800"}', "\\ud800"),
            (b'{"a": ' * 5000, '{"a": {"a"'),
            (b"[" * 100_000, f"The first {SHOWN}"),
            (b"x" * (SHOWN + 1), f"The first {SHOWN} of {SHOWN + 1} characters."),
            (None, "Nothing is stored of its body."),
        ],
        ids=["binary", "NUL", "half a surrogate", "cut off", "deep", "long", "none"],
    )
    def test_any_body_is_shown_as_text(self, content, body, said):
        assert said in content(answered(HOUR, body=body))

    def test_a_megabyte_of_json_makes_no_megabyte_of_page(self, staff):
        body = json.dumps([CARD] * 10_000).encode()
        shown = staff.get(page_of(answered(HOUR, request_body=body, body=body))).content
        assert len(body) > 1_000_000
        assert b"4111111111111111" not in shown
        # The command is whole, or it would be another request.
        assert len(shown) < 4_000_000

    @pytest.mark.parametrize("stored_headers", ["", "nonsense", "[1]", '{"a": 1}', '[["a"]]'])
    def test_headers_that_cannot_be_read_are_none(self, stored_headers):
        assert headers(stored_headers) == []


class TestCurl:
    @pytest.mark.parametrize("shell", ["bash", "dash"])
    @pytest.mark.parametrize(
        "text",
        [
            "plain", "'; touch hacked #", "$(touch hacked)", "`touch hacked`", "a\n'; touch hacked #", "\\",
            "a\\'; touch hacked #\n", "\x1b[2J\r!!", "@/etc/passwd", OVERRIDE, "Größe\n", '"$HOME"', "-K file", "\u2028'",
        ],
    )  # fmt: skip
    def test_no_text_leaves_its_word_in_any_shell(self, text, shell, tmp_path):
        from django_idempotency.curl import quoted

        run = subprocess.run([shell, "-c", f"printf %s {quoted(text)}"], cwd=tmp_path, capture_output=True, check=False)
        assert list(tmp_path.iterdir()) == []
        if shell == "bash":
            assert run.stdout.decode() == text
        assert quoted(text).isprintable()

    def test_it_repeats_the_request_without_its_secrets(self):
        record = refused()
        command = as_curl(record, [("Content-Type", "application/json"), ("Authorization", "Bearer x")])
        words = shlex.split(command)
        assert words[words.index("--header") + 1] == f'Idempotency-Key: "{record.key}"'
        assert "4111111111111111" not in command
        assert "Bearer" not in command
        assert json.loads(words[-1])["amount"] == "12.00"
        assert words[words.index("--url") + 1] == "${ORIGIN:?}/api/payments/"

    @override_settings(IDEMPOTENCY={"default": {"HEADER": "X-Request-Key"}})
    def test_the_header_is_the_profiles(self):
        assert "X-Request-Key" in as_curl(answered(HOUR, request_body=b""), [])

    def test_a_hostile_request_is_one_command(self):
        words = shlex.split(as_curl(hostile(), []).replace("$'", "'"))
        assert words[0] == "curl"
        assert "rm" not in words


class TestUnmasking:
    @pytest.fixture
    def finance(self, staff_client):
        return staff_client(*VIEW, "view_payload")

    def test_it_takes_the_permission_and_a_reason_and_is_recorded(self, finance):
        record = refused()
        shown = finance.post(page_of(record, "unmask"), {"reason": "the customer called"})
        assert "4111111111111111" in shown.content.decode()
        event = IdempotencyEvent.objects.get()
        assert (event.act, event.actor, event.record_id, event.reason) == (
            "reveal",
            "ada",
            record.pk,
            "the customer called",
        )
        assert event.address == "127.0.0.1"
        assert "the customer called" in finance.get(page_of(record)).content.decode()

    @pytest.mark.parametrize("reason", ["", "  ", "a\0b"])
    def test_without_a_reason_nothing_is_shown_or_recorded(self, finance, reason):
        shown = finance.post(page_of(refused(), "unmask"), {"reason": reason}).content.decode()
        assert "4111111111111111" not in shown
        assert "errornote" in shown
        assert not IdempotencyEvent.objects.exists()

    def test_without_the_permission_there_is_no_button_and_no_answer(self, staff):
        record = refused()
        assert b"unmask" not in staff.get(page_of(record)).content
        assert staff.post(page_of(record, "unmask"), {"reason": "curious"}).status_code == 403
        assert not IdempotencyEvent.objects.exists()

    def test_nor_with_that_permission_alone(self, staff_client):
        client = staff_client("view_payload")
        assert client.post(page_of(refused(), "unmask"), {"reason": "curious"}).status_code == 403

    def test_a_link_does_not_do_it(self, finance):
        assert finance.get(page_of(refused(), "unmask"), {"reason": "x"}).status_code == 405

    def test_a_lost_key_is_said_to_be_lost(self, finance):
        body, under = sealed(b"{}", KEYS[1:])
        record = answered(HOUR, body=body, body_key_id=under)
        assert b"errornote" in finance.post(page_of(record, "unmask"), {"reason": "x"}).content


class TestOperations:
    def test_the_steps_are_shown_in_order(self, content):
        shown = content(operation())
        journal = shown[shown.index('id="idem-journal"') :]
        assert journal.index("reserve") < journal.index("charge_card")
        assert "k-1" in journal

    def test_what_a_person_said_of_a_step_is_escaped(self, staff):
        record = operation()
        from django_idempotency.models import IdempotencyStep

        IdempotencyStep.objects.filter(record_id=record.pk).update(evidence=SCRIPT, resolved_by="ada")
        assert "<script>alert" not in staff.get(page_of(record)).content.decode()

    def test_a_record_of_a_view_has_no_journal(self, content):
        assert "idem-journal" not in content(stored("processing"))


def test_of_many_acts_the_latest_are_shown_and_that_there_are_more(content, monkeypatch):
    monkeypatch.setattr("django_idempotency.admin.request_pages.EVENTS", 2)
    record = answered(HOUR)
    for reason in ("the first", "the second", "the third"):
        record_event(ADA, "reveal", record_id=record.pk, reason=reason)
    shown = content(record)
    assert [reason in shown for reason in ("the first", "the second", "the third")] == [False, True, True]
    assert "these are the latest 2 acts" in shown


def test_each_incident_leads_to_its_page(staff):
    refused()
    links = re.findall(
        r"/idempotencyincident/(\d+)/change/", staff.get(page_of(IdempotencyRecord.objects.get())).content.decode()
    )
    assert sorted(map(int, links)) == sorted(IdempotencyIncident.objects.values_list("pk", flat=True))
