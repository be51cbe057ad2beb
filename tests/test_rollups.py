"""The dashboard's counts: what is counted, that it costs no statement, and that none is lost on the way to its chart."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.core import mail
from django.core.management import call_command
from django.core.signals import request_started
from django.db import OperationalError, connection, transaction
from django.db.models import Sum
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_idempotency import services, signals
from django_idempotency.core.policies import Policy
from django_idempotency.exceptions import KeyReused
from django_idempotency.models import IdempotencyRollup
from django_idempotency.rollups import counts as counting
from django_idempotency.rollups import rows, series
from django_idempotency.rollups.counts import STARTED, Counts, took
from tests.support.services import chosen_databases
from tests.support.threads import PATIENCE, closing, elsewhere

NOW = 1_700_000_000 // 3600 * 3600
MINUTE = NOW // 60
MINUTES = timedelta(minutes=1)


class NoWriter(Counts):
    """Counts that only a test writes."""

    def _start(self):
        """Leave it to the test."""

    def counted(self):
        """What was counted, whenever, with times of any length as one."""
        found = Counter()
        for (_, measure), number in self._tally.items():
            found["took" if measure.startswith("took.") else measure] += number
        return dict(found)


@pytest.fixture
def counts(monkeypatch):
    """The counts of this process, as if it were a server's."""
    fresh = NoWriter()
    monkeypatch.setattr(services, "counts", fresh)
    monkeypatch.delattr(mail, "outbox")
    receivers = [*request_started.receivers]
    fresh.begin()
    monkeypatch.setattr(request_started, "receivers", receivers)
    return fresh


def pay(path="/plain/pay", key="key-1", **script):
    client = Client(raise_request_exception=False)
    headers = {"Authorization": "Test 1", **({"Idempotency-Key": key} if key else {})}
    return client.post(path, script, content_type="application/json", headers=headers)


def sums(**filters):
    """Everything that the rows say, by measure."""
    found = IdempotencyRollup.objects.filter(**filters).values_list("measure").annotate(Sum("counter")).order_by()
    return {measure: int(number) for measure, number in found}


class TestWhatIsCounted:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_a_new_request_and_its_time_then_a_replay_and_a_refusal(self, counts):
        pay(amount=5)
        assert counts.counted() == {"new": 1, "took": 1}
        pay(amount=5)
        assert counts.counted() == {"new": 1, "took": 1, "replayed": 1}
        pay(amount=6)
        assert counts.counted() == {"new": 1, "took": 1, "replayed": 1, "refused.key-reused": 1}

    @pytest.mark.parametrize(
        ("then", "failed"), [("503", 1), ("raise", 1), ("raise 404", 0), ("raise 400", 0), ("400", 0)]
    )
    def test_a_failure_is_what_is_answered_with_a_5xx(self, counts, then, failed):
        assert pay(then=then).status_code >= 400
        assert counts.counted() == {"new": 1, "took": 1, **({"failed": 1} if failed else {})}

    def test_what_a_caller_rolls_back_has_not_been_answered(self, counts):
        with transaction.atomic():
            pay("/plain/joined")
            transaction.set_rollback(True)
        assert counts.counted() == {"new": 1}

    @pytest.mark.parametrize("path", ["/plain/pay", "/plain/joined", "/plain/outer"])
    def test_counting_costs_no_statement(self, counts, path):
        found = {}
        for serving in (True, False):
            counts.serving = serving
            with CaptureQueriesContext(connection) as queries:
                pay(path, key=f"key-{serving}")
                pay(path, key=f"key-{serving}")
            found[serving] = len(queries)
        assert found[True] == found[False]
        assert counts.counted() == {"new": 1, "took": 1, "replayed": 1}

    @pytest.mark.parametrize(("wanted", "number"), [(False, 0), (None, 1), (True, 1)])
    def test_a_profile_can_say_whether(self, counts, wanted, number):
        with override_settings(IDEMPOTENCY={"default": {"COUNT_REQUESTS": wanted}}):
            pay()
        assert counts.counted().get("new", 0) == number

    def test_without_the_admin_there_is_nobody_to_show_it_to(self, counts, monkeypatch):
        monkeypatch.setattr(counting.apps, "is_installed", lambda name: name != "django.contrib.admin")
        counts.begin()
        assert not counts.wanted(Policy())
        assert counts.wanted(Policy(count_requests=True))


class TestBeginning:
    def test_a_process_that_runs_tests_counts_nothing(self):
        fresh = Counts()
        fresh.begin()
        assert not fresh.wanted(Policy(count_requests=True))

    def test_the_first_request_of_a_server_begins_it_and_is_the_last_to_be_looked_at(self, monkeypatch):
        fresh = Counts()
        monkeypatch.delattr(mail, "outbox")
        monkeypatch.setattr(request_started, "receivers", [])
        request_started.connect(fresh.begin, dispatch_uid=STARTED)
        assert not fresh.wanted(Policy())
        request_started.send(sender=None)
        assert fresh.wanted(Policy())
        assert request_started.receivers == []


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "measure"), [(0, "took.1"), (0.001, "took.1"), (0.0011, "took.2"), (99, "took.more")]
    )
    def test_a_time_is_counted_under_its_upper_bound(self, seconds, measure):
        assert took(seconds) == measure

    @given(st.lists(st.floats(0, 59), min_size=1), st.sampled_from([0.5, 0.95]))
    def test_a_percentile_is_right_to_within_its_bounds(self, times, share):
        found = Counter(took(seconds).removeprefix("took.") for seconds in times)
        exact = sorted(times)[max(0, -int(-len(times) * share // 1) - 1)]
        bound = float(took(exact).removeprefix("took."))
        below = max([0, *(known for known in counting.BOUNDS if known < bound)])
        assert below <= series.percentile(found, share) <= bound

    def test_without_requests_there_is_none(self):
        assert series.percentile({}, 0.5) is None

    def test_beyond_the_last_bound_it_is_at_least_that(self):
        assert series.percentile({"more": 3}, 0.5) == counting.BOUNDS[-1]


class TestFlush:
    pytestmark = pytest.mark.django_db(transaction=True)

    def note(self, counts, times=1):
        for _ in range(times):
            counts.note(signals.replayed, time.perf_counter(), {})

    def test_what_was_counted_is_added_to_what_is_there(self, counts):
        for times in (2, 3):
            self.note(counts, times)
            elsewhere(counts.flush)
        assert sums(minutes=1) == {"replayed": 5}

    def test_what_cannot_be_written_is_written_the_next_time(self, counts, monkeypatch, caplog):
        self.note(counts, 2)
        with monkeypatch.context() as broken:
            broken.setattr(rows, "add", self.unreachable)
            counts.flush()
            counts.flush()
        assert [record.message for record in caplog.records] == [
            "The dashboard's counts cannot be written for now: OperationalError."
        ]
        self.note(counts)
        elsewhere(counts.flush)
        assert sums() == {"replayed": 3}

    def unreachable(self, *args, **kwargs):
        raise OperationalError

    def test_not_for_ever(self, counts, monkeypatch):
        self.note(counts)
        monkeypatch.setattr(rows, "add", self.unreachable)
        monkeypatch.setattr(counting, "KEPT", 0)
        counts.flush()
        assert counts.counted() == {}

    def test_a_thread_of_its_own_writes_now_and_then_and_for_a_last_time_at_the_end(self, monkeypatch):
        fresh, written = Counts(), []
        monkeypatch.setattr(counting, "_write", lambda tally: written.append((dict(tally), not fresh._ended.is_set())))
        monkeypatch.setattr(counting, "PAUSE", 0.01)
        self.note(fresh)
        deadline = time.monotonic() + PATIENCE
        while not written:
            assert time.monotonic() < deadline, "nothing was written"
        monkeypatch.setattr(counting, "PAUSE", PATIENCE)
        self.note(fresh)
        fresh.end()
        assert not fresh._writer.is_alive()
        assert sum(sum(tally.values()) for tally, _ in written) == 2

    def test_a_process_that_was_forked_writes_nothing_of_its_parents(self, counts):
        self.note(counts)
        counts.forget()
        self.note(counts, 2)
        elsewhere(counts.flush)
        assert sums() == {"replayed": 2}

    def test_the_transaction_of_a_request_is_not_touched(self, counts):
        if connection.vendor == "sqlite":
            # One writer at a time: it has to give way, and soon.
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("UPDATE bank_payment SET amount = 0")
                self.note(counts)
                begun = time.monotonic()
                elsewhere(counts.flush)
                assert time.monotonic() - begun < 2
            assert counts.counted() == {"replayed": 1}
            return
        with transaction.atomic():
            self.note(counts)
            elsewhere(counts.flush)
            transaction.set_rollback(True)
        assert sums() == {"replayed": 1}


tallies = st.dictionaries(
    st.tuples(st.integers(MINUTE - 11 * 24 * 60, MINUTE), st.sampled_from(["new", "replayed", "took.5"])),
    st.integers(1, 2**31),
    max_size=12,
)
on_a_database = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestRows:
    pytestmark = pytest.mark.django_db(transaction=True)

    @on_a_database
    @given(st.lists(tallies, max_size=4))
    def test_sums_survive_adding_and_compacting_in_any_order(self, several):
        IdempotencyRollup.objects.all().delete()
        total = Counter()
        for tally in several:
            rows.add(tally, alias="default")
            rows.compact(now=NOW)
            for (minute, measure), number in tally.items():
                if minute >= MINUTE - rows.HOURS_KEPT:
                    total[measure] += number
        assert sums(begins__gte=MINUTE - rows.HOURS_KEPT) == total
        rows.compact(now=NOW)
        assert sums() == total
        assert not IdempotencyRollup.objects.filter(minutes=1, begins__lt=MINUTE - rows.MINUTES_KEPT - 60).exists()

    def test_a_day_is_left_in_minutes_and_all_before_is_in_hours(self):
        young, old = MINUTE - 25 * 60, MINUTE - 25 * 60 - 1
        for minute in (young, old, old - 5):
            rows.add({(minute, "new"): 1}, alias="default")
        assert rows.compact(now=NOW) == rows.Compacted(minutes=2, hours=1)
        found = set(IdempotencyRollup.objects.values_list("begins", "minutes", "counter"))
        assert found == {(young, 1, 1), (MINUTE - 26 * 60, 60, 2)}
        assert rows.compact(now=NOW) == rows.Compacted()

    def test_what_no_chart_shows_is_deleted(self):
        rows.add({(MINUTE - rows.HOURS_KEPT - 1, "new"): 1, (MINUTE - rows.HOURS_KEPT, "new"): 1}, alias="default")
        assert rows.compact(now=NOW).deleted == 1

    def test_processes_that_write_at_once_lose_nothing(self):
        def write(number):
            for minute in range(5):
                order = ("new", "replayed") if number % 2 else ("replayed", "new")
                add = {(MINUTE + minute, measure): 1 for measure in order}
                write_once = partial(rows.add, add, alias="default")
                # Three that insert one row at once are a deadlock to InnoDB, whatever their order.
                until_it_works(write_once) if connection.vendor == "mysql" else write_once()

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(closing, lambda number=number: write(number)) for number in range(8)]:
                done.result(PATIENCE * 2)
        assert sums() == {"new": 40, "replayed": 40}

    def test_what_comes_while_an_hour_is_compacted_is_not_lost(self):
        late = {(MINUTE - 26 * 60, "new"): 7}
        rows.add({(MINUTE - 26 * 60, "new"): 1}, alias="default")
        pool, started = ThreadPoolExecutor(1), []

        def meanwhile(execute, sql, params, many, context):
            if sql.startswith("DELETE") and not started:
                started.append(pool.submit(closing, lambda: until_it_works(lambda: rows.add(late, alias="default"))))
                wait(started, timeout=0.5)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(meanwhile):
            rows.compact(now=NOW)
        started[0].result(PATIENCE)
        pool.shutdown()
        rows.compact(now=NOW)
        assert sums() == {"new": 8}

    def test_two_that_compact_at_once_count_nothing_twice(self):
        for minute in range(40):
            rows.add({(MINUTE - 27 * 60 + minute, "new"): 1}, alias="default")
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(closing, lambda: rows.compact(now=NOW)) for _ in range(2)]:
                done.result(PATIENCE)
        assert sums() == {"new": 40}

    def test_the_command_says_what_it_did(self, capsys):
        rows.add({(MINUTE, "new"): 1}, alias="default")
        call_command("idempotency_rollup")
        assert capsys.readouterr().out == "compacted: minutes 0, hours 0, deleted 1\n"


def until_it_works(call):
    """As the next flush does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except OperationalError:
            assert time.monotonic() < deadline


class TestSeries:
    pytestmark = pytest.mark.django_db

    @pytest.mark.parametrize("name", series.SPANS)
    def test_each_span_ends_now_and_has_all_that_is_in_it(self, name):
        span = series.SPANS[name]
        length = span.slots * span.width
        outside = MINUTE + span.width, MINUTE - length
        inside = MINUTE, MINUTE - length + span.width
        rows.add({(minute, "new"): 1 for minute in (*outside, *inside)}, alias="default")
        found = series.series(span, now=NOW)
        assert len(found) == span.slots
        assert [slot.new for slot in found if slot.new] == [1, 1]
        assert found[-1].begins_at <= datetime.fromtimestamp(NOW, UTC) < found[-1].begins_at + span.width * MINUTES

    def test_minutes_and_hours_count_together(self):
        hour = MINUTE - 120
        rows.add({(hour, "new"): 1, (hour + 5, "refused.in-flight"): 2}, alias="default")
        rows.add({(hour, "new"): 10, (hour, "failed"): 3}, alias="default", minutes=60)
        (slot,) = [slot for slot in series.series(series.SPANS["week"], now=NOW) if slot.new]
        assert (slot.new, slot.failed, slot.refused) == (11, 3, {"in-flight": 2})

    def test_it_is_one_statement(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            series.series(series.SPANS["week"], now=NOW)


@pytest.mark.slow
@pytest.mark.parametrize("vendor", chosen_databases())
def test_servers_that_end_and_start_again_have_counted_every_request(servers, vendor):
    database = servers.databases.new(vendor)
    for run in range(2):
        live = servers.start(database, workers=2, IDEMPOTENCY={"default": {"COUNT_REQUESTS": True}})
        for number in range(6):
            for _ in range(2):
                assert live.client.post("/plain/pay", key=f"key-{run}-{number}").status_code == 201
        servers.stop(live)
    found = dict(
        database.query("SELECT measure, SUM(counter) FROM django_idempotency_idempotencyrollup GROUP BY measure")
    )
    assert found["new"] == 12
    assert found["replayed"] == 12
    assert sum(number for measure, number in found.items() if measure.startswith("took.")) == 12


def test_a_refusal_is_counted_under_its_code():
    fresh = NoWriter()
    fresh.note(signals.rejected, time.perf_counter(), {"error": KeyReused()})
    assert fresh.counted() == {"refused.key-reused": 1}
