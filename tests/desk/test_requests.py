"""The list of requests, at Django's test client."""

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_idempotency import listings
from django_idempotency.admin.lists import RequestList
from django_idempotency.incidents import Kind
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.desk.conftest import VIEW
from tests.support.records import HOUR, completed, stored

pytestmark = pytest.mark.django_db
DAY = 24 * HOUR
LIST = "admin:django_idempotency_idempotencyrecord_changelist"


def page_of(record, kind="change"):
    return reverse(f"admin:django_idempotency_idempotencyrecord_{kind}", args=[record.pk])


def answered(age, **columns):
    columns = {"status": 201, "claimed_at": age, "completed_at": timezone.now() - age, **columns}
    return completed(expired=age - 72 * HOUR, forgotten=age - 33 * DAY, **columns)


def incident(record, kind=Kind.MISMATCH, **columns):
    now = timezone.now()
    given = {
        name: getattr(record, name) for name in ("namespace", "scope", "key", "method", "path", "amount", "currency")
    }
    given |= {"fingerprint": "ab", "first_seen": now, "last_seen": now}
    return IdempotencyIncident.objects.create(kind=kind, record_id=record.pk, **{**given, **columns})


@pytest.fixture
def staff(staff_client):
    return staff_client(*VIEW)


def keys_on(response):
    return [record.key for record in response.context["cl"].result_list]


class TestReadOnly:
    def test_nothing_can_be_changed_deleted_or_added(self, staff):
        record = stored("processing")
        assert staff.post(page_of(record), {"state": "completed"}).status_code == 403
        assert staff.post(page_of(record, "delete"), {"post": "yes"}).status_code == 403
        assert staff.get(reverse("admin:django_idempotency_idempotencyrecord_add")).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [str(record.pk)], "post": "yes"}
        staff.post(reverse(LIST), chosen)
        assert IdempotencyRecord.objects.get().state == "processing"

    def test_staff_without_the_permission_to_view_see_nothing(self, staff_client):
        client = staff_client("view_payload", "export")
        assert client.get(reverse(LIST)).status_code == 403
        assert client.get(page_of(stored("processing"))).status_code == 403


class TestList:
    def test_the_newest_come_first_of_the_last_day(self, staff):
        answered(2 * HOUR, key="second")
        stored("processing", key="first", claimed_at=HOUR)
        answered(25 * HOUR, key="old")
        assert keys_on(staff.get(reverse(LIST))) == ["first", "second"]
        assert keys_on(staff.get(reverse(LIST), {"window": "1h"})) == []
        assert keys_on(staff.get(reverse(LIST), {"window": "7d"})) == ["first", "second", "old"]
        assert keys_on(staff.get(reverse(LIST), {"window": "nonsense"})) == ["first", "second"]

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({"state": "processing"}, ["running"]),
            ({"status": "4"}, ["declined"]),
            ({"namespace": "till"}, ["running"]),
            ({"scope": "user:8"}, ["declined"]),
            ({"q": "user:8"}, ["declined"]),
            ({"q": "running", "state": "completed", "window": "1h"}, ["running"]),
            ({"q": "runnin"}, []),
            ({"status": "x", "state": "processing", "older": "x", "newer": "~~"}, ["running"]),
        ],
    )
    def test_filters_and_searches(self, staff, asked, expected):
        answered(2 * HOUR, key="paid")
        answered(3 * HOUR, key="declined", scope="user:8", status=402)
        stored("processing", key="running", namespace="till")
        assert keys_on(staff.get(reverse(LIST), asked)) == expected

    def test_a_search_finds_the_exact_key_only(self, staff):
        for key in ("a b", "a", "b", "A B", "a b c"):
            stored("processing", key=key)
        assert keys_on(staff.get(reverse(LIST), {"q": "a b"})) == ["a b"]

    def test_a_record_id_is_found_however_old_it_is(self, staff):
        record = answered(40 * DAY)
        assert keys_on(staff.get(reverse(LIST), {"q": str(record.pk)})) == [record.key]

    def test_older_and_newer_lead_through_all_of_it(self, staff, monkeypatch):
        monkeypatch.setattr("django_idempotency.admin.requests.IdempotencyRecordAdmin.list_per_page", 2)
        expected = [answered(HOUR * n).key for n in range(1, 6)]
        first = staff.get(reverse(LIST))
        second = staff.get(reverse(LIST) + first.context["cl"].older_url())
        third = staff.get(reverse(LIST) + second.context["cl"].older_url())
        assert keys_on(first) + keys_on(second) + keys_on(third) == expected
        back = staff.get(reverse(LIST) + third.context["cl"].newer_url())
        assert keys_on(back) == expected[2:4]
        assert keys_on(staff.get(reverse(LIST) + back.context["cl"].newer_url())) == expected[:2]

    def test_a_filter_begins_with_the_first_page(self, staff):
        content = staff.get(reverse(LIST), {"older": "2026-01-01T00:00:00+00:00~0~" + "0" * 32, "state": "unknown"})
        assert b"?older=" not in content.content
        assert b"&amp;older=" not in content.content

    def test_it_counts_up_to_a_bound_and_says_so(self, staff, monkeypatch):
        monkeypatch.setattr("django_idempotency.admin.requests.IdempotencyRecordAdmin.list_per_page", 1)
        monkeypatch.setattr("django_idempotency.admin.lists.COUNTED", 2)
        monkeypatch.setattr(listings, "COUNTED", 2)
        for n in range(1, 4):
            answered(HOUR * n)
        assert "More than 2 requests" in staff.get(reverse(LIST)).content.decode()
        IdempotencyRecord.objects.first().delete()
        content = staff.get(reverse(LIST)).content.decode()
        assert "2 requests" in content
        assert "More than" not in content

    @pytest.mark.parametrize(("patience", "clicks"), [(0, 2), (60, 1)])
    def test_a_search_that_was_cut_short_says_so_and_goes_on(self, staff, monkeypatch, patience, clicks):
        monkeypatch.setattr(listings, "LOOKED_AT", 2)
        for n in range(1, 6):
            answered(HOUR * n, scope="user:9" if n == 5 else "user:1")
        monkeypatch.setattr("django_idempotency.admin.lists.PATIENCE", patience)
        response = staff.get(reverse(LIST), {"q": "user:9"})
        assert "Look further back" in response.content.decode()
        for _ in range(clicks):
            response = staff.get(reverse(LIST) + response.context["cl"].older_url())
        assert len(keys_on(response)) == 1

    def test_each_row_says_how_many_incidents_there_are(self, staff, staff_client):
        record = answered(HOUR)
        incident(record)
        incident(record, Kind.FAILED)
        shown = f'{page_of(record)}#incidents">2</a>'
        assert shown in staff.get(reverse(LIST)).content.decode()
        other = staff_client("view_idempotencyrecord", name="bob")
        assert "#incidents" not in other.get(reverse(LIST)).content.decode()

    def test_what_a_client_has_sent_does_nothing_to_the_page(self, staff):
        bad = "<script>alert(1)</script>\u202etxt"
        answered(HOUR, scope=bad, path="/pay?x=" + bad, key='"><img src=x>')
        content = staff.get(reverse(LIST)).content.decode()
        assert "<script>alert" not in content
        assert "<img src=x>" not in content
        assert "\u202e" not in content
        assert "\\u202e" in content

    @override_settings(IDEMPOTENCY={"till": {}, "shop": {"NAMESPACE": "store"}})
    def test_namespaces_of_the_profiles_can_be_chosen(self, staff):
        content = staff.get(reverse(LIST)).content.decode()
        for namespace in ("default", "store", "till"):
            assert f"?namespace={namespace}" in content


class TestKeyOfManyScopes:
    def test_the_scope_and_the_namespace_that_are_chosen_narrow_what_a_key_finds(self, staff_client):
        for number in range(60):
            answered(90 * HOUR, key="1001", scope=f"user:{number}", namespace="hooks" if number else "")
        client = staff_client(*VIEW)

        def scopes(query):
            return [row.scope for row in client.get(reverse(LIST) + query).context["cl"].result_list]

        assert scopes("?q=1001&scope=user:59") == ["user:59"]
        assert scopes("?q=1001&scope=user:59&namespace=other") == []
        assert "More than 50 requests" in client.get(reverse(LIST) + "?q=1001").content.decode()

    def test_keys_in_another_case_do_not_crowd_it_out(self):
        for number in range(60):
            answered(HOUR, key="ABC", scope=f"user:{number}")
        answered(HOUR, key="abc", scope="user:100")
        assert [row.scope for row in listings.found(IdempotencyRecord.objects.all(), "abc", limit=50)] == ["user:100"]


class TestQueries:
    def of_list(self, staff, **asked):
        with CaptureQueriesContext(connection) as queries:
            staff.get(reverse(LIST), asked)
        return [query["sql"] for query in queries if "idempotencyrecord" in query["sql"] or "incident" in query["sql"]]

    def test_a_page_asks_as_much_whatever_is_on_it(self, staff):
        empty = len(self.of_list(staff))
        for n in range(30):
            incident(answered(HOUR / (n + 1)))
        asked = self.of_list(staff)
        # Two for each of the four walks, the sample of spans for the two of answered ones, the page and its incidents.
        assert len(asked) == 12
        assert len(asked) - empty <= 2

    def test_no_list_reads_a_body_or_counts_the_table(self, staff):
        answered(HOUR)
        for asked in ({}, {"q": "key"}, {"q": "x", "window": "all"}, {"scope": "user:1"}):
            statements = " ".join(self.of_list(staff, **asked)).replace("`", '"')
            assert '"body"' not in statements
            assert "COUNT(" not in statements

    @pytest.mark.parametrize("asked", [{"status": "4"}, {"scope": "user:7"}, {"q": "user:7"}, {"namespace": "till"}])
    def test_what_the_index_does_not_decide_is_no_condition_of_its_own(self, staff, asked):
        """Or PostgreSQL's planner guesses that few fulfil it, and reads the whole table: four seconds for ten million."""
        answered(HOUR)
        (name,) = asked.keys() if "q" not in asked else ("scope",)
        narrowed = [
            sql for sql in self.of_list(staff, **asked) if "LIMIT" in sql and f'{name}"' in sql.replace("`", '"')
        ]
        assert narrowed
        # A key has an index of its own.
        assert [
            sql
            for sql in narrowed
            if '"key" =' not in sql.replace("`", '"') and "CASE WHEN" not in sql.split("WHERE", 1)[1]
        ] == []

    def test_every_walk_is_bounded_by_the_index(self, staff):
        answered(HOUR)
        walks = [sql for sql in self.of_list(staff, status="4") if "ORDER BY" in sql and "due_at" in sql]
        assert walks
        for sql in walks:
            assert "LIMIT" in sql
            assert "state" in sql.split("WHERE", 1)[1]
            assert "due_at" in sql.split("WHERE", 1)[1].split("ORDER BY")[0]


def test_the_list_is_django_s_own(staff):
    assert isinstance(staff.get(reverse(LIST)).context["cl"], RequestList)
