"""What the purge does on PostgreSQL only: it makes way for others, and does not wait for the disk."""

import threading
import time
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_idempotency.maintenance import Purged, postgresql, purge
from django_idempotency.maintenance.pace import LONGEST_REST
from django_idempotency.maintenance.postgresql import beside_others
from tests.support.records import HOUR, completed, tombstone

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(settings.TEST_DATABASE != "postgresql", reason="about PostgreSQL"),
]


@pytest.fixture
def other():
    """Another session, which waits for us to tell it what to do."""
    other = connection.copy()
    other.inc_thread_sharing()
    yield other
    other.close()


@pytest.fixture
def rests(monkeypatch):
    """How long the purge would have rested before each batch. Other threads of this process sleep as they do."""
    seen = []
    monkeypatch.setattr(postgresql, "time", SimpleNamespace(sleep=seen.append, monotonic=time.monotonic))
    return seen


def asked(session, statement):
    with session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def within_seconds(condition):
    """Wait for what takes the server a moment."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.05) for _ in range(200))


class TestBesideOthers:
    def test_a_session_that_has_just_asked_something_counts(self, other):
        asked(other, "SELECT 1")
        assert beside_others("default")

    def test_one_that_only_stands_open_does_not_count_for_long(self, other):
        asked(other, "SELECT 1")
        assert within_seconds(lambda: not beside_others("default"))
        assert not other.connection.closed

    def test_one_in_the_middle_of_a_long_statement_counts(self, other):
        asked(connection, "SELECT 1 FROM (SELECT pg_advisory_lock(7)) AS gate")
        waits = threading.Thread(target=asked, args=(other, "SELECT 1 FROM (SELECT pg_advisory_lock(7)) AS gate"))
        waits.start()
        long = "wait_event = 'advisory' AND state_change < now() - interval '1 second'"
        try:
            assert within_seconds(lambda: asked(connection, f"SELECT count(*) FROM pg_stat_activity WHERE {long}"))
            assert beside_others("default")
        finally:
            asked(connection, "SELECT pg_advisory_unlock(7)")
            waits.join()

    def test_nobody_is_looked_for_inside_the_caller_s_transaction(self, other):
        asked(other, "SELECT 1")
        with transaction.atomic():
            assert not beside_others("default")


class TestPace:
    def test_the_purge_rests_between_batches_beside_others(self, monkeypatch, rests):
        monkeypatch.setattr(postgresql, "beside_others", lambda alias: True)
        for _ in range(3):
            tombstone(forgotten=HOUR)
        assert purge(batch_size=1) == Purged(deleted=3)
        assert all(0 < rest <= LONGEST_REST for rest in rests[1:4])

    def test_alone_it_does_not_rest(self, monkeypatch, rests):
        monkeypatch.setattr(postgresql, "beside_others", lambda alias: False)
        for _ in range(3):
            tombstone(forgotten=HOUR)
        assert purge(batch_size=1) == Purged(deleted=3)
        assert set(rests) == {0}

    def test_it_does_not_rest_when_its_time_is_up(self, monkeypatch, rests):
        monkeypatch.setattr(postgresql, "beside_others", lambda alias: True)
        for _ in range(3):
            tombstone(forgotten=HOUR)
        assert purge(batch_size=1, seconds=0) == Purged(deleted=1)
        assert rests == [0]


class TestCommits:
    def sent(self):
        completed(expired=HOUR, forgotten=-HOUR)
        with CaptureQueriesContext(connection) as queries:
            assert purge() == Purged(shrunk=1)
        return "\n".join(query["sql"] for query in queries)

    def test_a_batch_does_not_wait_for_the_disk(self):
        assert "synchronous_commit = off" in self.sent()

    def test_a_transaction_of_the_caller_s_keeps_its_own_settings(self):
        with transaction.atomic():
            assert "synchronous_commit" not in self.sent()
            assert asked(connection, "SHOW synchronous_commit") == "on"

    def test_whatever_the_session_s_isolation_a_batch_is_read_committed(self):
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        try:
            assert "ISOLATION LEVEL READ COMMITTED" in self.sent()
            assert asked(connection, "SHOW transaction_isolation") == "serializable"
        finally:
            connection.close()
