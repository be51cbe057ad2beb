"""The dashboard: what its tiles and charts say, to whom, and in how many statements."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import time_format

from django_idempotency import figures
from django_idempotency.admin.charts import ceiling, duration
from django_idempotency.models import IdempotencyApproval, IdempotencyIncident, IdempotencyRollup
from tests.desk.conftest import VIEW
from tests.desk.figures import HOSTILE, counted, incident
from tests.support.records import HOUR, completed, stored, tombstone

pytestmark = pytest.mark.django_db

PAGE = "admin:django_idempotency_idempotencyrollup_changelist"
SEES = "view_idempotencyrollup"
MINUTES = timedelta(minutes=1)


@pytest.fixture
def page(staff_client):
    """What a member of staff sees who may look at everything."""
    client = staff_client(*VIEW, SEES)
    return lambda **query: client.get(reverse(PAGE), query)


def tiles(response):
    """By group and title: the figure and the lines below it."""
    return {
        (str(group), tile.title): (tile.figure, *tile.lines)
        for group, found in response.context["groups"]
        for tile in found
    }


def this_minute():
    return int(timezone.now().timestamp()) // 60


def chart(response, name):
    (found,) = [chart for chart in response.context["charts"] if chart.name == name]
    return found


class TestWhoSeesIt:
    def test_staff_without_the_permission_do_not(self, staff_client):
        assert staff_client(*VIEW).get(reverse(PAGE)).status_code == 403

    def test_who_may_not_look_at_a_list_has_no_tile_of_it(self, staff_client):
        incident("mismatch")
        stored("unknown")
        nothing = staff_client(SEES).get(reverse(PAGE))
        assert tiles(nothing) == {}
        requests = staff_client(SEES, "view_idempotencyrecord", name="grace").get(reverse(PAGE))
        assert {group for group, _ in tiles(requests)} == {"Requests"}

    def test_nobody_adds_changes_or_deletes_a_count(self, admin_client):
        counted(this_minute(), "new", 1)
        name = PAGE.removesuffix("changelist")
        for page in ("add", "change", "delete", "history"):
            with pytest.raises(Exception, match="not found"):
                reverse(f"{name}{page}", args=[1] if page != "add" else [])
        request = RequestFactory().get("/")
        request.user = User.objects.get(username="admin")
        theirs = admin.site.get_model_admin(IdempotencyRollup)
        assert theirs.get_model_perms(request) == {"add": False, "change": False, "delete": False, "view": True}

    def test_to_see_it_is_the_only_permission_there_is(self):
        found = Permission.objects.filter(content_type__model="idempotencyrollup").values_list("codename", flat=True)
        assert [*found] == [SEES]

    @pytest.mark.parametrize("language", ["en", "de"])
    def test_it_is_the_first_entry_of_the_app(self, language):
        request = RequestFactory().get("/")
        request.user = User(is_staff=True, is_superuser=True, is_active=True)
        with translation.override(language):
            (app,) = admin.site.get_app_list(request, "django_idempotency")
        assert app["models"][0]["object_name"] == "IdempotencyRollup"


class TestTiles:
    def test_where_nothing_is_wrong_all_is_nought(self, page):
        completed(expired=-HOUR, forgotten=-HOUR)
        tombstone(forgotten=-HOUR)
        incident("failed", closed=8 * 24 * HOUR)
        response = page()
        assert {told[0] for told in tiles(response).values()} == {"0", "-"}
        assert b"idem-alarming" not in response.content

    def test_open_incidents_by_kind_with_the_oldest_and_the_largest_in_each_currency(self, page):
        incident("mismatch", age=3 * HOUR, amount=Decimal("12.5"), currency="EUR")
        incident("mismatch", age=2 * HOUR, amount=Decimal(4000), currency="EUR")
        incident("mismatch", age=HOUR, amount=Decimal(7), currency="USD")
        incident("mismatch", closed=HOUR)
        incident("unknown", age=30 * MINUTES)
        found = tiles(page())
        assert found["Open incidents", "Mismatches"] == (
            *("3", "oldest: 3\xa0hours"),
            *("oldest 12.50 EUR, largest 4,000.00 EUR", "7.00 USD"),
        )
        assert found["Open incidents", "Unknown outcomes"] == ("1", "oldest: 30\xa0minutes")
        assert found["Open incidents", "Failures"] == ("0",)

    def test_however_a_client_writes_a_currency_it_is_the_same(self, page):
        for hours, amount, currency in ((2, 5, "EUR"), (1, 700, "eur")):
            incident("failed", age=hours * HOUR, amount=Decimal(amount), currency=currency)
        assert "oldest 5.00 EUR, largest 700.00 EUR" in tiles(page())["Open incidents", "Failures"]

    def test_of_many_currencies_the_most_frequent_are_named(self, page):
        for currency in ("AAA", "BBB", "CCC", "DDD", "EEE", "EEE"):
            incident("failed", amount=Decimal(1), currency=currency)
        _, _, *money = tiles(page())["Open incidents", "Failures"]
        assert money == ["1.00 EEE", "1.00 AAA", "1.00 BBB", "and 2 more currencies"]

    @pytest.mark.parametrize(
        ("amount", "currency", "said"),
        [
            ("1250", "JPY", "1,250 JPY"),
            ("1.5", "KWD", "1.500 KWD"),
            ("0.125", "EUR", "0.125 EUR"),
            ("3", "eur", "3.00 EUR"),
        ],
    )
    def test_an_amount_has_the_decimals_of_its_currency_and_loses_none(self, page, amount, currency, said):
        incident("failed", amount=Decimal(amount), currency=currency)
        assert tiles(page())["Open incidents", "Failures"][-1] == said

    def test_requests_in_flight_abandoned_and_unknown(self, page):
        stored("processing", claimed_at=2 * MINUTES)
        stored("processing", claimed_at=HOUR, lease_until=timezone.now() + HOUR)
        stored("processing", claimed_at=3 * HOUR, operation="shop.pay")
        stored("processing", claimed_at=6 * MINUTES)
        stored("processing", claimed_at=7 * MINUTES, lease_until=timezone.now() - 6 * MINUTES)
        stored("unknown", claimed_at=HOUR, amount=Decimal(5), currency="EUR")
        found = tiles(page())
        assert found["Requests", "In flight"] == ("3", "oldest: 3\xa0hours")
        assert found["Requests", "Abandoned"] == ("2", "oldest: 7\xa0minutes")
        assert found["Requests", "Unknown"] == ("1", "oldest: 1\xa0hour", "5.00 EUR")

    def test_the_time_to_resolution_is_the_median_of_a_week(self, page):
        for hours in (2, 4, 30):
            incident("failed", age=(hours + 1) * HOUR, closed=HOUR)
        incident("failed", age=300 * HOUR, closed=200 * HOUR)
        assert tiles(page())["Open incidents", "Time to resolution"] == (
            "4\xa0hours",
            "median",
            "of 3 closed in 7 days",
        )

    def test_acts_that_wait_for_a_second_person(self):
        now = timezone.now()
        for state, left in (("requested", HOUR), ("requested", -HOUR), ("rejected", HOUR)):
            IdempotencyApproval.objects.create(
                act="release",
                namespace="default",
                arguments=b"{}",
                digest="",
                state=state,
                requester="ada",
                requested_at=now - 2 * HOUR,
                expires_at=now + left,
            )
        waiting = figures.awaiting_approval()
        assert (waiting.number, waiting.since) == (1, now - 2 * HOUR)

    def test_a_tile_leads_to_what_it_counts(self, staff_client):
        client = staff_client(*VIEW, SEES)
        for _ in range(2):
            incident("mismatch")
        incident("failed")
        incident("mismatch", closed=HOUR)
        for state in ("unknown", "completed"):
            stored(state, claimed_at=100 * HOUR)
        urls = {tile.title: tile.url for _, found in client.get(reverse(PAGE)).context["groups"] for tile in found}
        assert len(client.get(urls["Mismatches"]).context["cl"].result_list) == 2
        assert len(client.get(urls["Unknown"]).context["cl"].result_list) == 1
        assert len(client.get(urls["Time to resolution"]).context["cl"].result_list) == 1


class TestBounds:
    def test_the_page_asks_once_for_each_figure_and_once_for_all_charts(self, page):
        def asked():
            with CaptureQueriesContext(connection) as queries:
                page()
            return [query["sql"] for query in queries if "idempotency" in query["sql"]]

        few = asked()
        for kind in IdempotencyIncident.Kind.values:
            incident(kind, amount=Decimal(1), currency="EUR")
        for state in ("processing", "unknown"):
            stored(state)
        counted(this_minute(), "new", 5)
        assert len(asked()) == len(few) == 9
        assert not [sql for sql in few if "COUNT(" in sql]

    def test_no_more_is_read_than_is_counted(self, page, monkeypatch):
        monkeypatch.setattr(figures, "COUNTED", 3)
        for age in range(5):
            incident("failed", age=age * HOUR, amount=Decimal(100 - age), currency="EUR")
            stored("unknown", claimed_at=age * HOUR)
        found = tiles(page())
        assert found["Open incidents", "Failures"] == (
            "3+",
            "oldest: 4\xa0hours",
            "oldest 96.00 EUR, largest 98.00 EUR",
        )
        assert found["Requests", "Unknown"] == ("3+", "oldest: 4\xa0hours")
        with CaptureQueriesContext(connection) as queries:
            page()
        bounded = [query["sql"] for query in queries if "unknown" in query["sql"]]
        assert bounded
        assert all("LIMIT 4" in sql for sql in bounded)


class TestCharts:
    def test_each_says_in_its_table_what_it_draws(self, page):
        now = this_minute()
        for measure, number in {"new": 1200, "replayed": 3, "failed": 1, "took.100": 9, "took.500": 1}.items():
            counted(now - 5, measure, number)
        response = page()
        assert chart(response, "requests").legend == ((0, "requests", "1,200"),)
        assert [row[1:] for row in chart(response, "replays").rows] == [("3",)]
        assert [row[1:] for row in chart(response, "failures").rows] == [("1",)]
        assert [row[1:] for row in chart(response, "latency").rows] == [("400 ms", "86 ms")]
        for drawn in response.context["charts"]:
            assert len(drawn.groups) == len(drawn.rows) <= 1

    def test_bars_stand_on_one_another_and_end_at_the_top(self, page):
        for code, number in {"in-flight": 6, "key-reused": 4}.items():
            counted(this_minute() - 1, f"refused.{code}", number)
        (group,) = chart(page(), "refusals").groups
        assert [(bar.y, bar.height) for bar in group.bars] == [(40, 60), (0, 40)]
        assert group.said.endswith(", in-flight 6, key-reused 4")

    def test_the_codes_that_are_rare_are_taken_together(self, page):
        for number in range(1, 9):
            counted(this_minute(), f"refused.code-{number}", number)
        legend = chart(page(), "refusals").legend
        assert legend[0] == (0, "code-8", "8")
        assert legend[-1] == (5, "others", "6")

    @pytest.mark.parametrize(("span", "slots"), [("hour", 60), ("day", 48), ("week", 56), ("a year", 60), ("", 60)])
    def test_a_span_is_chosen_and_one_that_does_not_exist_is_an_hour(self, page, span, slots):
        assert {drawn.width for drawn in page(span=span).context["charts"]} == {slots * 10}

    def test_where_nothing_was_it_says_so(self, page):
        assert page().content.count(b"Nothing in this time.") == 5

    def test_times_are_those_of_the_staff(self, page, settings):
        settings.TIME_ZONE = "Asia/Kolkata"
        minute = this_minute()
        counted(minute, "new", 1)
        (row,) = chart(page(), "requests").rows
        there = datetime.fromtimestamp(minute * 60, ZoneInfo("Asia/Kolkata"))
        assert row[0] == time_format(there, "TIME_FORMAT")

    @pytest.mark.parametrize(("number", "top"), [(1, 1), (3, 3), (7, 8), (9, 10), (11, 20), (81, 100), (0.0, 1)])
    def test_a_chart_ends_at_a_round_number(self, number, top):
        assert ceiling(number) == top

    @pytest.mark.parametrize(
        ("milliseconds", "said"), [(None, "-"), (0.74, "0.7 ms"), (12.4, "12 ms"), (1500, "1.5 s"), (60_000, "60.0 s")]
    )
    def test_a_time_is_as_exact_as_it_matters(self, milliseconds, said):
        assert duration(milliseconds) == said


class TestHostile:
    def test_what_a_client_has_sent_is_text(self, page):
        incident("failed", amount=Decimal(1), currency=HOSTILE[:16], namespace=HOSTILE)
        stored("unknown", amount=Decimal(1), currency="</script><b>", namespace=HOSTILE)
        counted(this_minute(), f"refused.{HOSTILE}", 3)
        content = page().content
        assert b"<script>alert" not in content
        assert b"&lt;script&gt;alert(" in content
        assert b"</script><b>" not in content

    def test_nothing_on_the_page_is_inline(self, page):
        counted(this_minute(), "new", 3)
        content = page().content.decode()
        main = content[content.index('id="content-main"') :]
        assert "style=" not in main
        assert "<style" not in content.split("idem-dashboard")[1]
        assert "onclick" not in main
