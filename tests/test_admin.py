"""The admin shows records and changes none."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_idempotency.admin import SHOWN
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from tests.support.records import HOUR, completed, stored

pytestmark = pytest.mark.django_db
LIST = "admin:django_idempotency_idempotencyrecord_changelist"


def page_of(record, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencyrecord_{kind}", args=[record.pk])


@pytest.fixture
def staff(client):
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="django_idempotency"))
    client.force_login(user)
    return client


def keys_on(response):
    return {record.key for record in response.context["cl"].result_list}


class TestReadOnly:
    def test_a_record_is_shown_without_a_form_to_change_it(self, staff):
        response = staff.get(page_of(completed(expired=-HOUR, forgotten=-HOUR)))
        assert response.status_code == 200
        assert b'name="_save"' not in response.content
        assert b'name="state"' not in response.content

    def test_nothing_can_be_changed_deleted_or_added(self, staff):
        record = stored("processing")
        assert staff.post(page_of(record), {"state": "completed"}).status_code == 403
        assert staff.post(page_of(record, "delete"), {"post": "yes"}).status_code == 403
        assert staff.get(reverse("admin:django_idempotency_idempotencyrecord_add")).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [str(record.pk)], "post": "yes"}
        staff.post(reverse(LIST), chosen)
        assert IdempotencyRecord.objects.get().state == "processing"

    def test_staff_without_the_permission_to_view_see_nothing(self, client):
        client.force_login(User.objects.create_user("other", is_staff=True))
        record = stored("processing")
        assert client.get(reverse(LIST)).status_code == 403
        assert client.get(page_of(record)).status_code == 403


class TestList:
    def test_a_search_finds_the_exact_key_only(self, staff):
        for key in ("a b", "a", "b", "A B", "a b c"):
            stored("processing", key=key)
        assert keys_on(staff.get(reverse(LIST), {"q": "a b"})) == {"a b"}
        assert keys_on(staff.get(reverse(LIST), {"q": "nothing"})) == set()
        assert len(keys_on(staff.get(reverse(LIST)))) == 5

    def test_a_search_for_what_no_key_can_hold_is_no_error(self, staff):
        assert staff.get(reverse(LIST), {"q": "a\0b"}).status_code == 200

    def test_the_list_is_by_primary_key_and_reads_no_bodies(self, staff):
        completed(expired=-HOUR, forgotten=-HOUR)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            staff.get(reverse(LIST))
        asked = [query["sql"].replace("`", '"') for query in queries]
        (listing,) = [sql for sql in asked if 'idempotencyrecord"."key"' in sql]
        assert listing.split("ORDER BY")[1].split("LIMIT")[0].split()[0].endswith('"id"')
        assert '"body"' not in listing

    def test_a_search_counts_only_what_it_found(self, staff):
        stored("processing", key="k")
        with CaptureQueriesContext(connection) as queries:
            staff.get(reverse(LIST), {"q": "k"})
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
        assert len(counts) == 1
        assert "WHERE" in counts[0]


class TestBody:
    def test_a_stored_page_does_not_run_in_the_browser(self, staff):
        page = b"<script>alert(1)</script>"
        content = staff.get(page_of(completed(expired=-HOUR, forgotten=-HOUR, body=page))).content
        assert page not in content
        assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in content

    @pytest.mark.parametrize(
        ("body", "shown"),
        [(b"\xff\x00", "\\xff\x00"), (None, ""), (b"x" * (SHOWN + 1), "x" * SHOWN + "…"), (b"x" * SHOWN, "x" * SHOWN)],
        ids=["binary", "none", "too long", "just short enough"],
    )
    def test_any_body_is_shown_as_text(self, staff, body, shown):
        record = completed(expired=-HOUR, forgotten=-HOUR, body=body)
        assert admin.site._registry[IdempotencyRecord].body_text(record) == shown
        assert staff.get(page_of(record)).status_code == 200

    def test_the_fingerprint_is_shown_in_hexadecimal(self, staff):
        assert b"01" * 32 in staff.get(page_of(stored("processing"))).content


@pytest.mark.django_db(transaction=True)
class TestOperations:
    @pytest.fixture
    def record(self):
        """An operation with a card number in its input, whose call was resolved by a person."""
        given = b'{"amount": 5, "card": "4111111111111111", "password": "s3cret"}'
        record = stored("unknown", operation="shop.pay", operation_input=given)
        step = {"record_id": record.pk, "kind": "remote", "input": given, "gateway_key": "key-of-gateway"}
        IdempotencyStep.objects.create(position=1, name="second", **step)
        IdempotencyStep.objects.create(
            position=0, name="first", result=b'{"status": "<b>"}', evidence="line 7", resolved_by="ada", **step
        )
        return record

    def test_the_steps_are_shown_in_order_and_escaped(self, staff, record):
        content = staff.get(page_of(record)).content.decode()
        table = content[content.index("<table><thead>") :]
        assert table.index("<td>first</td>") < table.index("<td>second</td>")
        for told in ("key-of-gateway", "line 7", "ada", "&lt;b&gt;"):
            assert told in table

    def test_what_it_was_given_is_shown_without_its_secrets(self, staff, record):
        content = staff.get(page_of(record)).content
        assert b"&quot;amount&quot;: 5" in content or b"&quot;amount&quot;:5" in content
        assert b"4111111111111111" not in content
        assert b"s3cret" not in content

    @override_settings(IDEMPOTENCY={"default": {"MASK": ["/amount"]}})
    def test_nor_what_a_profile_masks(self, staff, record):
        content = staff.get(page_of(record)).content
        assert b"&quot;amount&quot;: 5" not in content
        assert b"&quot;amount&quot;:5" not in content

    @pytest.mark.parametrize(
        ("value", "under", "shown"),
        [(b"gAAAA", "12345678", b"encrypted under key 12345678"), (b"\xff", "", b"cannot be shown")],
    )
    def test_what_cannot_be_read_is_said_to_be(self, staff, record, value, under, shown):
        IdempotencyRecord.objects.update(operation_input=value, operation_key_id=under)
        assert shown in staff.get(page_of(record)).content

    def test_a_record_of_a_view_has_none_of_it(self, staff):
        content = staff.get(page_of(stored("processing"))).content
        assert b"<thead>" not in content
        assert b"Resumes" not in content
