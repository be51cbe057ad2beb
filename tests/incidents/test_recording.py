"""What becomes an incident, in every mode of a claim, and that none is in the way of a request."""

import json
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction
from django.http import HttpResponse
from django.test import AsyncRequestFactory

from django_idempotency import floods, idempotent, incidents
from django_idempotency.core.engine import Claim
from django_idempotency.maintenance import recover
from django_idempotency.models import IdempotencyIncident, IdempotencyRecord
from tests.bank.models import Payment
from tests.support import points
from tests.support.contenders import operation
from tests.support.records import completed, stored
from tests.support.threads import elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(settings.TEST_DATABASE != "postgresql", reason="about PostgreSQL")


@pytest.fixture(params=["own transaction", "joined", "ATOMIC_REQUESTS", "outer"])
def path(request, monkeypatch):
    """The path of a view, in each way that its transaction may be opened."""
    if request.param == "ATOMIC_REQUESTS":
        monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    return {"joined": "/plain/joined", "outer": "/plain/outer"}.get(request.param, "/plain/pay")


class TestFailures:
    def test_an_unexpected_exception_is_one(self, send, inbox, path):
        assert send(path, then="raise").status_code == 500
        assert inbox() == [("failed", "RuntimeError", 1)]
        assert (Payment.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)

    def test_a_returned_5xx_is_one(self, send, inbox, path):
        assert send(path, then="503").status_code == 503
        assert inbox() == [("failed", "503", 1)]

    @pytest.mark.parametrize("then", ["raise 404", "raise 403", "raise 400", "400", "409", "pay", "declined"])
    def test_an_ordinary_answer_is_none(self, send, inbox, path, then):
        assert send(path, then=then).status_code < 500
        assert inbox() == []

    def test_it_says_what_was_asked_and_by_whom(self, send, inbox, key):
        send(then="raise", password="s3cret")
        (found,) = inbox("key", "scope", "namespace", "method", "path", "request_whole")
        assert found == (key, "user:1", "default", "POST", "/plain/pay", False)
        ((body, headers),) = inbox("request_body", "request_headers")
        assert json.loads(bytes(body)) == {"amount": 5, "then": "raise", "password": "[masked]"}
        assert ["Content-Type", "application/json"] in json.loads(headers)

    def test_the_same_failure_again_is_counted(self, send, inbox, path):
        for _ in range(3):
            send(path, then="raise")
        assert inbox() == [("failed", "RuntimeError", 3)]
        ((first, last),) = inbox("first_seen", "last_seen")
        assert first < last

    def test_another_request_under_the_freed_key_is_another(self, send, inbox):
        send(then="raise")
        send(then="raise", amount=6)
        assert inbox("counter") == [(1,), (1,)]

    def test_a_transaction_that_the_view_has_broken_is_one(self, send, inbox, path):
        assert send(path, then="marked for rollback").status_code == 500
        assert inbox("kind", "error") == [("failed", "TransactionBroken")]


class TestTogether:
    """The incident commits with the release, and waits for the end of a transaction that is not ours."""

    @on_postgresql
    def test_a_failure_commits_with_the_release(self, send, inbox, monkeypatch):
        seen = []
        write = incidents._write

        def spy(alias, incident):
            write(alias, incident)
            with connection.copy().cursor() as other:
                other.execute(
                    "SELECT (SELECT count(*) FROM django_idempotency_idempotencyincident), "
                    "(SELECT count(*) FROM django_idempotency_idempotencyrecord)"
                )
                seen.append(other.fetchone())
                other.connection.close()

        monkeypatch.setattr(incidents, "_write", spy)
        send(then="raise")
        # While it is written, others see the claim and no incident; afterwards no claim and the incident.
        assert seen == [(0, 1)]
        assert (len(inbox()), IdempotencyRecord.objects.count()) == (1, 0)

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")
    @pytest.mark.parametrize("again", [{"amount": 6}, {"then": "raise"}], ids=["mismatch", "failed"])
    def test_whoever_holds_an_incident_holds_up_no_answer(self, send, inbox, again):
        if "amount" in again:
            send()
        statuses = [send(**again).status_code]
        with held(IdempotencyIncident):
            begun = time.monotonic()
            statuses.append(elsewhere(lambda: send(**again).status_code))
            assert time.monotonic() - begun < 4
        assert statuses[0] == statuses[1]
        assert inbox("counter") == [(1,)]
        assert IdempotencyRecord.objects.count() == ("amount" in again)

    def test_a_change_that_hits_nothing_is_none(self, inbox):
        incident = incidents.failure(claimed())
        assert [incidents.together("default", incident, lambda hit=hit: hit) for hit in (False, True)] == [False, True]
        assert inbox() == [("failed", "503", 1)]

    def test_in_a_transaction_of_the_callers_it_waits_for_the_commit(self, inbox):
        claim = claimed()
        with transaction.atomic():
            incidents.report("default", incidents.failure(claim))
            assert inbox() == []
        assert inbox() == [("failed", "503", 1)]

    def test_after_a_rollback_it_is_written_when_the_request_has_ended(self, inbox):
        rolled_back(lambda: incidents.report("default", incidents.failure(claimed())))
        assert inbox() == []
        incidents.write_waiting()
        incidents.write_waiting()
        assert inbox() == [("failed", "503", 1)]

    def test_without_a_request_it_is_written_with_the_next(self, inbox):
        rolled_back(lambda: incidents.report("default", incidents.failure(claimed())))
        incidents.report("default", incidents.failure(claimed()))
        assert inbox() == [("failed", "503", 1)] * 2


@contextmanager
def held(model):
    """Hold the lock of every row of a model, over another connection."""
    other = connection.copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {model._meta.db_table} FOR UPDATE")
        yield
    finally:
        other.rollback()
        other.close()


def rolled_back(call):
    with transaction.atomic():
        call()
        transaction.set_rollback(True)


def claimed():
    claim = Claim(operation=operation(), number=1)
    claim.ending.status = 503
    return claim


class TestMismatches:
    def test_both_payloads_are_kept_side_by_side(self, send, inbox, path):
        send(path)
        answer = send(path, amount=6)
        assert (answer.status_code, answer.json()["code"]) == (422, "key-reused")
        ((kind, other, first),) = inbox("kind", "request_body", "first_body")
        assert (kind, json.loads(bytes(other)), json.loads(bytes(first))) == ("mismatch", {"amount": 6}, {"amount": 5})

    def test_a_few_are_counted_exactly(self, send, inbox):
        send()
        for _ in range(3):
            send(amount=6)
        assert inbox() == [("mismatch", "", 3)]

    def test_a_flood_costs_one_row_however_its_payloads_differ(self, inbox):
        first = operation()
        stored("completed", id=first.id, key=first.key, fingerprint=first.fingerprints[0])
        with statements() as executed:
            for number in range(100_000):
                incidents.mismatch("default", operation(first.key, body=b"%d" % number))
        assert inbox("kind") == [("mismatch",)]
        assert len(executed) < 5_000
        ((counter,),) = inbox("counter")
        assert 5 <= counter <= 100_000

    def test_a_pause_in_a_flood_brings_the_count_up(self, inbox, monkeypatch):
        first = operation()
        stored("completed", id=first.id, key=first.key, fingerprint=first.fingerprints[0])
        clock = [0.0]
        monkeypatch.setattr(incidents.time, "monotonic", lambda: clock[0])
        for _ in range(1000):
            incidents.mismatch("default", first)
        assert inbox("counter") == [(5,)]
        clock[0] = 2.0
        incidents.mismatch("default", first)
        assert inbox("counter") == [(1001,)]

    def test_the_memory_of_floods_is_bounded(self, monkeypatch):
        flood = floods.Flood()
        monkeypatch.setattr(flood, "KEYS", 10)
        assert {flood.due(operation().id) for _ in range(100)} == {1}
        assert len(flood._seen) == 10

    def test_in_one_that_has_been_released_since_there_is_nothing_to_tell(self, inbox, caplog):
        incidents.mismatch("default", operation())
        assert inbox() == []
        assert caplog.text == ""


@contextmanager
def statements():
    """Return the statements that are executed meanwhile."""
    executed = []

    def note(execute, sql, *others):
        executed.append(sql)
        return execute(sql, *others)

    with connection.execute_wrapper(note):
        yield executed


class TestUpkeep:
    def test_a_claim_that_nobody_retried_is_abandoned(self, inbox):
        record = stored("processing", request_body=b'{"amount": 5}', request_headers="[]", amount=5, currency="EUR")
        recover()
        assert inbox("kind", "record_id", "amount", "currency") == [("abandoned", record.id, 5, "EUR")]
        assert [bytes(body) for (body,) in inbox("request_body")] == [b'{"amount": 5}']

    def test_one_that_has_committed_on_its_own_is_unknown(self, inbox):
        stored("processing", token=1)
        recover()
        recover()
        assert inbox() == [("unknown", "", 1)]

    def test_what_somebody_has_retried_meanwhile_is_none(self, inbox):
        stored("processing", claimed_at=timedelta(0))
        completed(expired=timedelta(hours=-1), forgotten=timedelta(hours=-2))
        recover()
        assert inbox() == []


class TestCoroutines:
    """What they did cannot be undone: an error leaves an unknown outcome, unless the view may run again."""

    async def pay(self, key, *, error=None, status=200, **choices):
        @idempotent(**choices)
        async def view(request):
            if error:
                raise error
            return HttpResponse("x", status=status)

        headers = {"Idempotency-Key": key}
        return await view(AsyncRequestFactory().post("/pay", b"{}", content_type="application/json", headers=headers))

    def test_an_error_leaves_an_unknown(self, key, inbox):
        with pytest.raises(RuntimeError):
            async_to_sync(self.pay)(key, error=RuntimeError())
        assert inbox() == [("unknown", "", 1)]

    def test_one_that_may_run_again_has_failed(self, key, inbox):
        with pytest.raises(RuntimeError):
            async_to_sync(self.pay)(key, error=RuntimeError(), rerun=True)
        assert inbox() == [("failed", "RuntimeError", 1)]

    def test_a_returned_5xx_has_failed(self, key, inbox):
        assert async_to_sync(self.pay)(key, status=503).status_code == 503
        assert inbox() == [("failed", "503", 1)]

    def test_a_mismatch_is_one(self, key, inbox):
        async_to_sync(self.pay)(key)
        IdempotencyRecord.objects.update(fingerprint=b"\x01" + b"other")
        assert async_to_sync(self.pay)(key).status_code == 422
        assert inbox() == [("mismatch", "", 1)]


class TestDoubt:
    @pytest.mark.parametrize("path", ["/plain/pay", "/plain/joined"])
    def test_a_view_that_ends_its_own_transaction_leaves_an_unknown(self, send, inbox, path):
        assert send(path, then="raw commit").status_code == 500
        assert inbox() == [("unknown", "", 1)]
        assert send(path, then="raw commit").json()["code"] == "outcome-unknown"
        assert inbox() == [("unknown", "", 1)]


class TestInTheWay:
    """An incident that cannot be written changes no answer."""

    @pytest.fixture
    def no_table(self):
        """The release before has no such table."""
        with connection.schema_editor() as editor:
            editor.delete_model(IdempotencyIncident)
        yield
        with connection.schema_editor() as editor:
            editor.create_model(IdempotencyIncident)

    def test_without_its_table_everything_is_answered_as_ever(self, send, path, no_table, caplog):
        assert send(path, then="raise").status_code == 500
        assert send(path, then="503").status_code == 503
        assert send(path).status_code == 201
        assert send(path, amount=6).status_code == 422
        assert caplog.text.count("could not be written") == 3
        assert IdempotencyRecord.objects.count() == 1

    def test_without_its_table_upkeep_goes_on(self, no_table):
        stored("processing")
        assert recover().released == 1
        assert IdempotencyRecord.objects.count() == 0

    def test_one_that_takes_the_transaction_with_it_does_not_take_the_release(self, send, monkeypatch):
        """As a deadlock does on MariaDB: nothing is left of the transaction, though Django thinks it goes on."""

        def deadlock(*args):
            connection.create_cursor().execute("ROLLBACK")
            raise DatabaseError

        monkeypatch.setattr(incidents, "_upsert", deadlock)
        assert send(then="raise").status_code == 500
        assert IdempotencyRecord.objects.count() == 0
        record = stored("processing")
        assert recover().released == 1
        assert not IdempotencyRecord.objects.filter(pk=record.pk).exists()

    def test_the_log_does_not_quote_the_row(self, send, monkeypatch, caplog):
        def fail(*args):
            raise DatabaseError("Failing row contains (s3cret)")

        monkeypatch.setattr(incidents, "_upsert", fail)
        assert send(then="raise").status_code == 500
        assert "DatabaseError" in caplog.text
        assert "s3cret" not in caplog.text.replace("a bug", "")


def test_two_writers_at_once_count_to_two(inbox):
    """One finds nothing to count; the other inserts; the first's insert fails, and it counts."""
    incident = incidents.failure(claimed())
    counted, calls = incidents._counted, []

    def late(alias, found):
        calls.append(found)
        if len(calls) == 1:
            incidents.IdempotencyIncident.objects.create(
                **incidents._identity(alias, found),
                **found.columns,
                first_seen="2026-01-01T00:00Z",
                last_seen="2026-01-01T00:00Z",
            )
            return 0
        return counted(alias, found)

    incidents._counted = late
    try:
        incidents.report("default", incident)
    finally:
        incidents._counted = counted
    assert inbox() == [("failed", "503", 2)]


class TestBudget:
    def test_a_request_that_ends_well_asks_nothing_more(self, send):
        with statements() as executed:
            send()
        assert [sql for sql in executed if "incident" in sql] == []
        assert [name for sql in executed if (name := points.name_of(sql))][-1] == "complete"
