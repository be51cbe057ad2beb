"""Numbers that a form or a command reads again, where settings and language write them in groups of three digits."""

import html
import re

import pytest
from django.test import override_settings
from django.urls import reverse

from django_idempotency import audit
from django_idempotency.models import IdempotencyHead
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, answered, incident
from tests.resolution.people import BOB
from tests.support.records import stored

pytestmark = pytest.mark.django_db
INBOX = reverse("admin:django_idempotency_idempotencyincident_changelist")


@pytest.fixture(autouse=True)
def _grouped():
    with override_settings(USE_THOUSAND_SEPARATOR=True, LANGUAGE_CODE="de"):
        yield


def page_of(found, kind="change"):
    return reverse(f"admin:{found._meta.app_label}_{found._meta.model_name}_{kind}", args=[found.pk])


def test_an_incident_that_is_ticked_in_the_inbox_is_the_one_that_is_meant(staff_client):
    found, client = incident(answered(HOUR), "failed", id=1_234_567), staff_client(*VIEW, "resolve")
    ticked = re.findall(r'name="_selected_action" value="([^"]*)"', client.get(INBOX).content.decode())
    assert ticked == ["1234567"]
    shown = client.post(INBOX, {"action": "bulk_close", "_selected_action": ticked, "index": 0}).content.decode()
    assert f'value="{found.pk}:1"' in shown


def test_who_was_slower_is_told_only_what_has_happened_since(staff_client):
    found, client = incident(answered(HOUR), "failed"), staff_client(*VIEW, "resolve")
    IdempotencyHead.objects.create(pk=1, sequence=1000)
    audit.record_event(BOB, "assign", incident_id=found.pk, record_id=found.record_id)
    shown = client.get(page_of(found)).content.decode()
    assert re.findall(r'name="since" value="([^"]*)"', shown) == ["1001"]


def test_a_claim_can_be_copied_from_the_page_to_a_command(staff_client):
    record = stored("processing", claim=4_611_686_018_427_387_904)
    shown = html.unescape(staff_client(*VIEW).get(page_of(record)).content.decode())
    assert "<bdi>4611686018427387904</bdi>" in shown
