"""Lists of requests: complete, in order, and bounded in what they read."""

import random
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from django_idempotency import listings
from django_idempotency.lanes import Position, Wanted
from django_idempotency.listings import found, listed, pages
from django_idempotency.models import IdempotencyRecord
from tests.support.records import HOUR, completed, stored, tombstone

pytestmark = pytest.mark.django_db
DAY = 24 * HOUR
RETENTION = 72 * HOUR
RECORDS = IdempotencyRecord._base_manager
ALL = Wanted()


def answered(age, *, retention=RETENTION, **columns):
    """A record that was answered so long ago, and is kept for so long."""
    at = timezone.now() - age
    times = {"claimed_at": age, "expires_at": age - retention, "forget_at": age - retention - 30 * DAY}
    return stored("completed", completed_at=at, **{"status": 201, **times, **columns})


def forgotten(age, *, retention=RETENTION, remembered=30 * DAY, **columns):
    at = timezone.now() - age
    times = {"claimed_at": age, "expires_at": age - retention, "forget_at": age - retention - remembered}
    return stored("tombstone", completed_at=at, **{**times, **columns})


def keys(records):
    return [record.key for record in records]


def walked(wanted=ALL, limit=3):
    return [record.key for page in pages(RECORDS.all(), wanted, limit=limit) for record in page]


class TestOrder:
    def test_states_and_spans_are_merged_by_time(self):
        answered(3 * HOUR, key="c")
        answered(1 * HOUR, key="a", retention=7 * DAY)
        stored("processing", key="b", claimed_at=2 * HOUR)
        stored("unknown", key="d", claimed_at=4 * HOUR)
        answered(5 * HOUR, key="e", retention=HOUR)
        forgotten(6 * HOUR, key="f", retention=HOUR)
        assert walked(Wanted(window=DAY)) == ["a", "b", "c", "d", "e", "f"]

    def test_each_span_has_its_own_lane_and_no_record_is_in_two(self):
        spans = (HOUR, 2 * HOUR, 26 * HOUR, RETENTION)
        expected = [answered(HOUR * n / 4, retention=spans[n % 4]).key for n in range(1, 13)]
        assert walked(Wanted(window=7 * DAY)) == expected

    def test_a_window_ends_with_the_time_of_the_answer_not_with_the_index(self):
        answered(HOUR, key="new", retention=7 * DAY)
        answered(2 * DAY, key="old", retention=7 * DAY)
        answered(2 * DAY, key="older", retention=RETENTION)
        assert walked(Wanted(window=DAY)) == ["new"]

    def test_without_a_window_every_record_is_there_whatever_its_span(self):
        expected = {answered(HOUR * n, retention=HOUR * m).key for n in range(1, 6) for m in (1, 30, 72, 500)}
        expected |= {tombstone(forgotten=-n * DAY).key for n in range(1, 4)}
        assert sorted(walked()) == sorted(expected)

    @pytest.mark.parametrize("seed", range(3))
    def test_no_record_is_missed_or_met_twice_though_many_have_one_time(self, seed, monkeypatch):
        monkeypatch.setattr(listings, "LOOKED_AT", 4)
        chance = random.Random(seed)
        now = timezone.now()
        expected = []
        for _ in range(40):
            at, span = now - HOUR * chance.randint(1, 4), chance.choice([RETENTION, 7 * DAY])
            state = chance.choice(["processing", "unknown", "completed"])
            times = {} if state != "completed" else {"completed_at": at, "status": 201}
            record = stored(state)
            RECORDS.filter(pk=record.pk).update(claimed_at=at, expires_at=at + span if times else None, **times)
            expected.append(record.key)
        met = walked(Wanted(window=DAY), limit=7)
        assert sorted(met) == sorted(expected)
        times = dict(RECORDS.values_list("key", "claimed_at"))
        assert [times[key] for key in met] == sorted(times.values(), reverse=True)


class TestPages:
    def test_newer_leads_back_by_the_same_records(self, monkeypatch):
        monkeypatch.setattr(listings, "LOOKED_AT", 5)
        for n in range(1, 13):
            (answered if n % 2 else forgotten)(HOUR * n, retention=RETENTION if n % 3 else 7 * DAY)
        wanted = Wanted(window=30 * DAY)
        first = listed(RECORDS.all(), wanted, limit=4)
        second = listed(RECORDS.all(), wanted, limit=4, older=first.older)
        third = listed(RECORDS.all(), wanted, limit=4, older=second.older)
        back = listed(RECORDS.all(), wanted, limit=4, newer=third.newer)
        assert len({*keys(first.records), *keys(second.records), *keys(third.records)}) == 12
        assert keys(back.records) == keys(second.records)

    def test_the_first_page_has_nothing_newer_and_the_last_nothing_older(self):
        for n in range(1, 5):
            answered(HOUR * n)
        first = listed(RECORDS.all(), Wanted(window=DAY), limit=2)
        last = listed(RECORDS.all(), Wanted(window=DAY), limit=2, older=first.older)
        assert (first.newer, last.older) == (None, None)
        assert len(last.records) == 2

    def test_a_search_that_finds_little_says_how_far_it_has_come_and_goes_on_from_there(self, monkeypatch):
        monkeypatch.setattr(listings, "LOOKED_AT", 3)
        for n in range(1, 10):
            answered(HOUR * n, scope="user:9" if n == 8 else "user:1")
        first = listed(RECORDS.all(), Wanted(window=DAY, scope="user:9"), limit=5)
        assert first.records == []
        assert timezone.now() - first.until >= 3 * HOUR - timedelta(seconds=5)
        assert walked(Wanted(window=DAY, scope="user:9")) != []

    def test_whoever_has_time_gets_what_is_found_meanwhile_in_one_page(self, monkeypatch):
        monkeypatch.setattr(listings, "LOOKED_AT", 3)
        for n in range(1, 20):
            answered(HOUR * n, scope="user:9" if n in (8, 15, 19) else "user:1")
        wanted = Wanted(window=DAY, scope="user:9")
        page = listed(RECORDS.all(), wanted, limit=2, seconds=60)
        assert len(page.records) == page.counted == 2
        rest = listed(RECORDS.all(), wanted, limit=2, seconds=60, older=page.older)
        assert [len(rest.records), rest.until, rest.older] == [1, None, None]

    def test_what_is_shown_is_never_more_than_what_all_lanes_have_reached(self, monkeypatch):
        monkeypatch.setattr(listings, "LOOKED_AT", 2)
        for n in range(1, 7):
            stored("processing", claimed_at=HOUR * n, key=f"p{n}", namespace="x")
        answered(5.5 * HOUR, key="late", namespace="y")
        first = listed(RECORDS.all(), Wanted(window=DAY, namespace="y"), limit=5)
        assert first.records == []
        assert walked(Wanted(window=DAY, namespace="y")) == ["late"]

    def test_it_counts_what_was_found_up_to_a_bound(self, monkeypatch):
        monkeypatch.setattr(listings, "COUNTED", 3)
        for n in range(1, 8):
            answered(HOUR * n)
        assert listed(RECORDS.all(), Wanted(window=5.5 * HOUR), limit=2).counted == 4
        assert listed(RECORDS.all(), Wanted(window=2.5 * HOUR), limit=1).counted == 2

    @pytest.mark.parametrize(
        "text", ["", "x", "~~", "2026-01-01~0~x", "9999-12-31T00:00:00+00:00~0~" + str(uuid.uuid4())]
    )
    def test_a_position_that_nobody_wrote_is_none(self, text):
        assert Position.read(text) is None

    def test_a_position_is_read_as_it_was_written(self):
        position = Position(timezone.now(), 3, uuid.uuid4())
        assert Position.read(str(position)) == position


class TestFilters:
    def test_each_takes_what_it_names(self):
        answered(HOUR, key="paid", namespace="shop", scope="user:7")
        answered(HOUR, key="declined", namespace="shop", scope="user:8", status=402)
        stored("processing", key="running", namespace="till", scope="user:7", claimed_at=HOUR)
        assert walked(Wanted(state="processing")) == ["running"]
        assert sorted(walked(Wanted(namespace="shop"))) == ["declined", "paid"]
        assert sorted(walked(Wanted(scope="user:7"))) == ["paid", "running"]
        assert walked(Wanted(status=4)) == ["declined"]
        assert walked(Wanted(status=4, state="processing")) == []


class TestFound:
    def test_by_the_exact_key_or_id_however_old(self):
        old = answered(29 * DAY, key="Key")
        stored("processing", key="key")
        assert found(RECORDS.all(), "Key", limit=5) == [old]
        assert found(RECORDS.all(), str(old.pk), limit=5) == [old]
        assert found(RECORDS.all(), "ke", limit=5) == []

    def test_a_key_that_is_another_records_id_finds_both(self):
        one = answered(HOUR)
        other = answered(2 * HOUR, key=str(one.pk))
        assert found(RECORDS.all(), str(one.pk), limit=5) == [one, other]

    def test_at_most_as_many_as_were_asked_for_and_one_more(self):
        for n in range(5):
            answered(HOUR, key="same", scope=f"user:{n}")
        assert len(found(RECORDS.all(), "same", limit=3)) == 4


def test_a_list_reads_no_bodies(django_assert_num_queries):
    completed(expired=-HOUR, forgotten=-DAY)
    (record,) = listed(RECORDS.all(), Wanted(), limit=5).records
    assert {"body", "request_body", "operation_input"} <= record.get_deferred_fields()
