"""A scope's stored requests and answers go; its keys stay."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_idempotency import erasure
from django_idempotency.erasure import Erased, erase
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.bank.models import Payment
from tests.support.records import HOUR, completed, stored, tombstone

pytestmark = pytest.mark.django_db(transaction=True)


def bodies():
    """Return everything that may hold personal data, of all records and incidents."""
    columns = ["request_headers", "request_body"]
    records = IdempotencyRecord.objects.values_list(*columns, "body")
    incidents = IdempotencyIncident.objects.values_list(*columns, "first_headers", "first_body")
    return [value for row in [*records, *incidents] for value in row if value not in (None, "")]


class TestErase:
    def test_bodies_go_and_the_key_stays(self, send):
        first = send()
        send(amount=6)
        assert erase("user:1") == Erased(records=1, incidents=1)
        assert bodies() == []
        replay = send()
        assert (replay.status_code, replay.content) == (first.status_code, b"")
        assert replay.headers["Idempotent-Replay-Body"] == "omitted"
        assert replay.headers["Content-Type"] == first.headers["Content-Type"]
        assert send(amount=7).json()["code"] == "key-reused"
        assert Payment.objects.count() == 1

    def test_others_are_left_alone(self):
        mine = completed(expired=-HOUR, forgotten=-2 * HOUR, scope="user:1", request_body=b"mine")
        completed(expired=-HOUR, forgotten=-2 * HOUR, scope="user:11", request_body=b"theirs")
        completed(expired=-HOUR, forgotten=-2 * HOUR, scope="USER:1", request_body=b"theirs")
        assert erase("user:1") == Erased(records=1)
        assert IdempotencyRecord.objects.filter(request_body=b"theirs").count() == 2
        assert IdempotencyRecord.objects.get(pk=mine.pk).state == "completed"

    def test_a_tombstone_and_an_unknown_one_keep_their_state(self):
        tombstone(forgotten=-HOUR, key="t", request_body=b"old")
        stored("unknown", key="u", request_body=b"old")
        assert erase("user:1").records == 2
        assert dict(IdempotencyRecord.objects.values_list("key", "state")) == {"t": "tombstone", "u": "unknown"}

    def test_what_is_in_flight_is_left_and_said(self):
        stored("processing", request_body=b"now")
        assert erase("user:1") == Erased(held=1)
        assert IdempotencyRecord.objects.get().request_body is not None

    def test_what_somebody_holds_is_left_and_said(self):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no row locks")
        held = completed(expired=-HOUR, forgotten=-2 * HOUR)
        other = connection.copy()
        other.set_autocommit(False)
        try:
            with other.cursor() as cursor:
                cursor.execute(f"SELECT 1 FROM {IdempotencyRecord._meta.db_table} WHERE id = %s FOR UPDATE", [held.pk])
            assert erase("user:1") == Erased(held=1)
        finally:
            other.rollback()
            other.close()
        assert erase("user:1") == Erased(records=1)

    def test_more_than_one_batch(self, monkeypatch):
        monkeypatch.setattr(erasure, "BATCH", 2)
        for _ in range(5):
            completed(expired=-HOUR, forgotten=-2 * HOUR)
        told = []
        assert erase("user:1", progress=told.append) == Erased(records=5)
        assert told == [Erased(records=2), Erased(records=4), Erased(records=5)]
        assert erase("user:1") == Erased()

    def test_a_dry_run_only_counts(self, send):
        send(), send(amount=6)
        before = bodies()
        assert erase("user:1", dry_run=True) == Erased(records=1, incidents=1)
        assert bodies() == before


class TestCommand:
    def run(self, *arguments):
        out = StringIO()
        call_command("idempotency_erase", *arguments, stdout=out, stderr=StringIO())
        return out.getvalue()

    def test_it_erases_and_sums_up(self):
        completed(expired=-HOUR, forgotten=-2 * HOUR)
        assert self.run("--scope=user:1", "--dry-run") == "would erase: records 1, incidents 0, held 0\n"
        assert self.run("--scope=user:1") == "erased: records 1, incidents 0, held 0\n"
        assert bodies() == []

    def test_it_fails_where_something_was_left(self):
        stored("processing", request_body=b"now")
        with pytest.raises(CommandError, match="1 are in use and were left"):
            self.run("--scope=user:1")

    def test_it_needs_a_scope(self):
        with pytest.raises(CommandError, match="--scope"):
            self.run()
