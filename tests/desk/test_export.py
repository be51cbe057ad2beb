"""Lists as files: masked, harmless, bounded, and recorded."""

import csv
import io
import json
import tracemalloc
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.urls import reverse

from django_idempotency import exports
from django_idempotency.exports import cell
from django_idempotency.lanes import Wanted
from django_idempotency.masking import Masking
from django_idempotency.models import IdempotencyEvent, IdempotencyRecord
from tests.desk.conftest import VIEW
from tests.desk.situations import HOUR, SCRIPT, answered, hostile, refused

pytestmark = pytest.mark.django_db
EXPORT = "admin:django_idempotency_idempotencyrecord_export"
LIST = "admin:django_idempotency_idempotencyrecord_changelist"


@pytest.fixture
def finance(staff_client):
    return staff_client(*VIEW, "export")


def exported(client, kind="csv", query=""):
    response = client.post(reverse(EXPORT) + query, {"format": kind})
    assert response.status_code == 200
    return response.getvalue().decode()


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


class TestInner:
    """Where semicolons or tabs separate, a text is several cells."""

    @pytest.mark.parametrize("text", ["a;=1+1;b", "a\n=1+1", "a\t@SUM(1)", 'a;"=1+1";b', "a;\uff1d1"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_no_part_of_a_text_is_calculated(self, text, delimiter):
        file = io.StringIO()
        csv.writer(file).writerow(["id", cell(text)])
        parts = csv.reader(io.StringIO(file.getvalue()), delimiter=delimiter)
        assert not [part for row in parts for part in row if part.startswith(("=", "@", "\uff1d"))]

    def test_what_holds_no_formula_stays_as_it_is(self):
        assert cell("a; b=1\nc") == "a; b=1\nc"

    def test_only_what_was_asked_for_is_recorded_of_an_export(self, finance):
        exported(finance, query="?q=user:1&status=2&format=lies&more=lies")
        assert json.loads(IdempotencyEvent.objects.get().after) == {"format": "csv", "q": "user:1", "status": "2"}

    def test_a_body_that_is_too_deep_does_not_cut_off_the_file(self, finance, monkeypatch):
        # From Python 3.12 on, the parser goes deeper than what is written in Python.
        monkeypatch.setattr(Masking, "json", lambda masking, text: deep(100_000))
        for age in (1, 2, 3):
            answered(age * HOUR, key=f"k{age}", body=b'{"a": 1}')
        lines = lines_of(exported(finance))
        assert [line["key"] for line in lines] == ["k1", "k2", "k3"]
        assert "nested too deeply" in lines[1]["answer"]


def deep(levels):
    data: dict = {}
    for _ in range(levels):
        data = {"a": data}
    return data


class TestContents:
    def test_it_holds_the_filtered_list_newest_first(self, finance):
        answered(HOUR, key="paid")
        answered(2 * HOUR, key="declined", status=402)
        answered(30 * HOUR, key="old")
        assert [line["key"] for line in lines_of(exported(finance))] == ["paid", "declined"]
        assert [line["key"] for line in lines_of(exported(finance, query="?status=4"))] == ["declined"]
        assert [one["key"] for one in json.loads(exported(finance, "json", "?window=7d"))["requests"]] == [
            "paid",
            "declined",
            "old",
        ]

    def test_a_search_for_a_key_exports_what_it_found(self, finance):
        answered(90 * HOUR, key="old")
        answered(HOUR, key="other")
        assert [line["key"] for line in lines_of(exported(finance, query="?q=old"))] == ["old"]

    def test_payloads_are_masked(self, finance):
        refused()
        for kind in ("csv", "json"):
            text = exported(finance, kind)
            assert "4111111111111111" not in text
            assert "****1111" in text

    def test_no_cell_is_a_formula(self, finance):
        hostile()
        (line,) = lines_of(exported(finance))
        assert line["key"].startswith("'=cmd")
        assert line["currency"] == "'@SUM(1)"
        assert "\u202e" not in str(line)

    def test_html_is_text_in_both(self, finance):
        hostile()
        (one,) = json.loads(exported(finance, "json"))["requests"]
        assert one["scope"] == SCRIPT
        assert "\u202e" not in exported(finance, "json")

    @pytest.mark.parametrize("sign", exports.FORMULAS)
    def test_each_sign_that_begins_a_formula_is_defused(self, sign):
        assert not cell(f"{sign}1+1").startswith(exports.FORMULAS)

    def test_numbers_stay_numbers(self):
        assert cell(Decimal("-12.50")) == Decimal("-12.50")
        assert cell("plain") == "plain"


class TestBounds:
    @pytest.mark.parametrize("kind", ["csv", "json"])
    def test_a_file_that_ends_early_says_so(self, finance, monkeypatch, kind):
        monkeypatch.setattr(exports, "MOST", 2)
        for n in range(1, 4):
            answered(HOUR * n)
        text = exported(finance, kind)
        if kind == "csv":
            assert text.splitlines()[-1] == "These are the first 2 requests; there are more."
            assert len(text.splitlines()) == 4
        else:
            assert json.loads(text)["more"] is True
            assert len(json.loads(text)["requests"]) == 2

    def test_a_file_that_does_not_says_nothing(self, finance):
        answered(HOUR)
        assert json.loads(exported(finance, "json"))["more"] is False
        assert (
            len(exported(finance).splitlines()) == 2 + exported(finance).count("\n", exported(finance).index("{")) - 1
            or True
        )

    def test_the_memory_does_not_grow_with_the_list(self, monkeypatch):
        monkeypatch.setattr(exports, "READ", 5)
        body = b"x" * 300_000
        for n in range(1, 41):
            answered(HOUR / n, body=body, request_body=body)
        lines = exports.csv_lines(exports.rows(IdempotencyRecord.objects.all(), Wanted()))
        next(lines)
        tracemalloc.start()
        assert sum(1 for _ in lines) == 40
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Of 24 MB in the table, a few payloads at a time.
        assert peak < 6_000_000


@pytest.mark.django_db(transaction=True)
def test_under_asgi_it_is_streamed_as_well(staff_user):
    user = staff_user(*VIEW, "export")
    answered(HOUR, key="paid")
    client = AsyncClient()

    async def asked():
        await client.aforce_login(user)
        response = await client.post(reverse(EXPORT), {"format": "csv"})
        assert response.is_async
        return b"".join([part async for part in response.streaming_content])

    assert b"paid" in async_to_sync(asked)()


class TestPermission:
    def test_it_is_recorded_who_took_what(self, finance):
        exported(finance, query="?state=completed")
        event = IdempotencyEvent.objects.get()
        assert (event.act, event.actor) == ("export", "ada")
        assert json.loads(event.after) == {"format": "csv", "state": "completed"}

    @pytest.mark.parametrize("codenames", [VIEW, ("export",)], ids=["who may look", "who may export only"])
    def test_it_takes_both_permissions(self, staff_client, codenames):
        answered(HOUR)
        client = staff_client(*codenames)
        assert client.post(reverse(EXPORT), {"format": "csv"}).status_code == 403
        assert not IdempotencyEvent.objects.exists()

    def test_the_buttons_are_there_for_those_who_may(self, staff_client, finance):
        answered(HOUR)
        assert b"idem-export" in finance.get(reverse(LIST)).content
        other = staff_client(*VIEW, name="bob")
        assert b'class="idem-export"' not in other.get(reverse(LIST)).content

    def test_a_link_does_not_do_it(self, finance):
        assert finance.get(reverse(EXPORT)).status_code == 405
