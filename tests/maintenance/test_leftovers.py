"""The purge of what is not the record itself: approvals, bulk acts, and journals whose record is gone."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_idempotency import maintenance
from django_idempotency.audit import Actor, record_event
from django_idempotency.maintenance import Purged, leftovers, purge
from django_idempotency.models import (
    IdempotencyApproval,
    IdempotencyBulk,
    IdempotencyBulkRow,
    IdempotencyEvent,
    IdempotencyRecord,
    IdempotencyStep,
)
from django_idempotency.operations.recovery import Resumed, resume
from tests.operations import tills
from tests.operations.tills import GATEWAY, Died, die, pay
from tests.support.records import HOUR, stored
from tests.support.threads import PATIENCE, closing

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)
# Of the settings' defaults: RETENTION and TOMBSTONE.
KEPT = 33 * DAY

Approved = IdempotencyApproval.State
Row = IdempotencyBulkRow.State


def approval(age: timedelta, state: str = Approved.DONE) -> IdempotencyApproval:
    """One that could be granted until so long ago."""
    until = timezone.now() - age
    granted = {"approver": "bob", "approver_id": "8"} if state in ("approved", "done") else {}
    return IdempotencyApproval.objects.create(
        act="release",
        namespace="default",
        arguments=b"{}",
        state=state,
        requester="ada",
        **{"requester_id": "7", "requested_at": until - DAY, "expires_at": until, **granted},
    )


def bulk(age: timedelta, *states: str, **columns: Any) -> IdempotencyBulk:
    """One that was asked for so long ago, with a row in each of these states."""
    begun = IdempotencyBulk.objects.create(
        act="release",
        reason="dead",
        requester="ada",
        language="",
        **{"requested_at": timezone.now() - age, **columns},
    )
    rows = [IdempotencyBulkRow(bulk=begun, record_id=uuid4(), seen=1, key="k", state=state) for state in states]
    IdempotencyBulkRow.objects.bulk_create(rows)
    return begun


def journal(age: timedelta, *, of: UUID | None = None, steps: int = 3) -> UUID:
    """The steps of an operation, the last of which ended so long ago; of one that has no record, where none is given."""
    record_id, ended = of or uuid4(), timezone.now() - age
    IdempotencyStep.objects.bulk_create(
        [
            IdempotencyStep(
                record_id=record_id,
                position=position,
                name="reserve",
                kind="phase",
                input=b"{}",
                finished_at=ended - (steps - 1 - position) * HOUR,
            )
            for position in range(steps)
        ]
    )
    return record_id


def plans(table: str) -> Iterator[tuple[str, str]]:
    """Each statement of the purge on a table, and how the database finds its rows."""
    with CaptureQueriesContext(connection) as queries:
        purge(batch_size=7)
    asked = [
        query["sql"] for query in queries if table in query["sql"] and query["sql"].startswith(("SELECT", "DELETE"))
    ]
    assert asked
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        for sql in asked:
            cursor.execute(f"{explain} {sql}")
            names = [column[0] for column in cursor.description]
            # MariaDB also tells which indexes it could take.
            shown = [name for name in names if name in ("type", "key", "rows")] or names
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            yield sql, "; ".join(" ".join(str(row[name]) for name in shown) for row in rows)


def analyze(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")
        if connection.vendor == "mysql":
            cursor.fetchall()


class TestApprovals:
    @pytest.mark.parametrize("state", Approved.values)
    def test_they_go_when_they_are_long_over_whatever_became_of_them(self, state: str) -> None:
        for age in (KEPT + HOUR, KEPT + DAY, KEPT + DAY):
            approval(age, state)
        kept = {approval(KEPT - HOUR, state).pk, approval(-HOUR, state).pk}
        assert purge(dry_run=True) == Purged(approvals=3)
        assert purge(batch_size=2) == Purged(approvals=3)
        assert set(IdempotencyApproval.objects.values_list("pk", flat=True)) == kept
        assert purge() == Purged()

    def test_the_audit_keeps_their_history(self) -> None:
        found = approval(KEPT + DAY)
        event = record_event(Actor(name="bob", id="8", approval=found.pk), "approve")
        assert purge() == Purged(approvals=1)
        assert IdempotencyEvent.objects.get().approval_id == event.approval_id == found.pk

    def test_the_longest_retention_and_tombstone_of_all_profiles_count(self) -> None:
        approval(KEPT + DAY)
        with override_settings(IDEMPOTENCY={"default": {}, "longer": {"TOMBSTONE": 60 * DAY}}):
            assert purge() == Purged()

    def test_a_short_memory_of_keys_is_no_short_memory_of_what_staff_did(self) -> None:
        approval(29 * DAY)
        with override_settings(IDEMPOTENCY={"default": {"RETENTION": HOUR, "TOMBSTONE": timedelta(0)}}):
            assert purge() == Purged()
            approval(31 * DAY)
            assert purge() == Purged(approvals=1)

    def test_each_batch_is_found_by_an_index(self) -> None:
        for age in range(40):
            approval(KEPT + DAY + age * HOUR)
        IdempotencyApproval.objects.bulk_create(
            [IdempotencyApproval(**values) for values in [self.young()] * 3000], batch_size=1000
        )
        analyze(IdempotencyApproval._meta.db_table)
        for sql, plan in plans(IdempotencyApproval._meta.db_table):
            assert any(name in plan for name in ("djidempotency_approval_", "PRIMARY", "_pkey")), (sql, plan)

    def young(self) -> dict[str, Any]:
        now = timezone.now()
        return {
            "act": "release",
            "namespace": "default",
            "arguments": b"{}",
            "state": "requested",
            "requester": "ada",
            "requested_at": now,
            "expires_at": now + DAY,
        }


class TestBulkActs:
    def test_they_go_with_their_rows(self) -> None:
        bulk(KEPT + HOUR, Row.DONE, Row.REFUSED, Row.ASKED)
        bulk(KEPT + DAY, Row.DONE)
        kept = bulk(KEPT - HOUR, Row.DONE, Row.FAILED)
        assert purge(dry_run=True) == Purged(bulk_acts=2)
        assert purge(batch_size=1) == Purged(bulk_acts=2)
        assert IdempotencyBulk.objects.get() == kept
        assert IdempotencyBulkRow.objects.filter(bulk=kept).count() == IdempotencyBulkRow.objects.count() == 2
        assert purge() == Purged()

    @pytest.mark.parametrize("state", [Row.WAITING, Row.BEGUN])
    def test_what_nobody_has_gone_on_with_for_so_long_goes_too(self, state: str) -> None:
        bulk(KEPT + HOUR, Row.DONE, state)
        assert purge() == Purged(bulk_acts=1)
        assert not IdempotencyBulkRow.objects.exists()

    def test_each_batch_is_found_by_an_index(self) -> None:
        for age in range(20):
            bulk(KEPT + DAY + age * HOUR, Row.DONE)
        now = timezone.now()
        young = {"act": "release", "reason": "dead", "requester": "ada", "language": "", "requested_at": now}
        made = IdempotencyBulk.objects.bulk_create([IdempotencyBulk(**young) for _ in range(3000)], batch_size=1000)
        made = made if made[0].pk else list(IdempotencyBulk.objects.filter(requested_at__gt=now - HOUR))
        IdempotencyBulkRow.objects.bulk_create(
            [IdempotencyBulkRow(bulk_id=one.pk, record_id=uuid4(), seen=1, key="k") for one in made], batch_size=1000
        )
        for model in (IdempotencyBulk, IdempotencyBulkRow):
            analyze(model._meta.db_table)
        for sql, plan in plans(IdempotencyBulk._meta.db_table):
            named = ("djidempotency_bulk_", "PRIMARY", "_pkey", "_bulk_id_")
            assert any(name in plan for name in named), (sql, plan)


class TestJournals:
    def test_one_whose_record_is_gone_goes_when_it_is_old(self) -> None:
        journal(KEPT + HOUR)
        young = journal(KEPT - HOUR, steps=4)
        here = journal(KEPT + HOUR, of=stored("unknown", operation="tests.pay").pk)
        assert purge(dry_run=True) == Purged(steps=3)
        assert purge() == Purged(steps=3)
        assert set(IdempotencyStep.objects.values_list("record_id", flat=True)) == {young, here}
        assert purge() == Purged()

    def test_none_goes_in_part(self) -> None:
        journal(KEPT - 2 * HOUR, steps=5)
        assert purge() == Purged()
        assert IdempotencyStep.objects.count() == 5

    def test_a_call_that_nobody_has_heard_of_counts_from_when_it_was_sent(self) -> None:
        journal(KEPT + HOUR, steps=1)
        IdempotencyStep.objects.update(requested_at=F("finished_at"), finished_at=None)
        assert purge() == Purged(steps=1)
        journal(HOUR, steps=1)
        IdempotencyStep.objects.update(requested_at=F("finished_at") - 50 * DAY)
        assert purge() == Purged()

    @pytest.mark.parametrize("batch_size", [1, 2, 1000])
    def test_they_go_in_batches(self, batch_size: int) -> None:
        for _ in range(5):
            journal(KEPT + HOUR)
        told: list[Purged] = []
        assert purge(batch_size=batch_size, progress=told.append) == Purged(steps=15)
        # One more where a run begins in the midst of them.
        assert 0 <= len(told) + -5 // batch_size <= 1

    def test_many_are_looked_through_in_a_few_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leftovers, "LOOKED_AT", 2)
        monkeypatch.setattr(leftovers, "LOOKS", 4)
        for _ in range(20):
            journal(KEPT + HOUR)
            journal(HOUR, of=stored("unknown", operation="tests.pay").pk)
        runs = 0
        while IdempotencyStep.objects.count() > 60:
            runs += 1
            assert purge().steps <= 24
            assert runs < 1000
        assert IdempotencyStep.objects.count() == 60

    def test_a_new_operation_under_the_same_id_keeps_its_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        purge: no record has this id             new: claims the id, and dies in its second step
        purge: deletes what is old under the id       resumed: to its end, once
        """
        tills.restore()
        assert pay.run(key="k", scope="user:1", amount=5).status == 201
        IdempotencyStep.objects.update(
            requested_at=F("requested_at") - 40 * DAY, finished_at=F("finished_at") - 40 * DAY
        )
        found = IdempotencyRecord.objects.get()
        old = list(IdempotencyStep.objects.values())
        IdempotencyRecord.objects.all().delete()
        GATEWAY.charged.clear()
        delete = leftovers._delete_steps

        def meanwhile(*given: Any) -> int:
            # What is old is not in the way of the new one: else the test would be about that.
            IdempotencyStep.objects.all().delete()
            GATEWAY.after = Died()
            die(lambda: pay.run(key="k", scope="user:1", amount=7))
            for step in old:
                IdempotencyStep.objects.create(**{**step, "position": step["position"] + 10})
            return delete(*given)

        monkeypatch.setattr(leftovers, "_delete_steps", meanwhile)
        assert purge() == Purged(steps=len(old))
        assert IdempotencyRecord.objects.get().pk == found.pk
        assert IdempotencyStep.objects.count() == 2
        assert resume() == Resumed(completed=1)
        assert (len(GATEWAY.charged), IdempotencyStep.objects.count()) == (1, 3)
        tills.restore()

    def test_each_batch_is_found_by_the_primary_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(leftovers, "LOOKED_AT", 30)
        monkeypatch.setattr(leftovers, "LOOKS", 3)
        old = timezone.now() - KEPT - HOUR
        step = {"position": 0, "name": "reserve", "kind": "phase", "finished_at": old}
        many = [IdempotencyStep(record_id=uuid4(), **step) for _ in range(20_000)]
        IdempotencyStep.objects.bulk_create(many, batch_size=1000)
        analyze(IdempotencyStep._meta.db_table)
        for sql, plan in plans(IdempotencyStep._meta.db_table):
            assert any(name in plan for name in ("PRIMARY", "_pkey", "sqlite_autoindex")), (sql, plan)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_two_at_once_are_not_in_each_other_s_way() -> None:
    for _ in range(30):
        approval(KEPT + DAY)
        bulk(KEPT + DAY, Row.DONE, Row.DONE)
        journal(KEPT + DAY)
    start, failed = threading.Barrier(2), []

    def purging() -> None:
        start.wait(PATIENCE)
        try:
            purge(batch_size=3)
        except Exception as exc:  # noqa: BLE001 - told by whoever asserts
            failed.append(exc)

    threads = [threading.Thread(target=lambda: closing(purging)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failed == []
    # Where one has made way for the other, the next run does the rest.
    purge()
    assert not any(model.objects.exists() for model in (IdempotencyApproval, IdempotencyBulk, IdempotencyStep))


def test_what_is_left_goes_within_the_time_that_is_given() -> None:
    approval(KEPT + DAY)
    approval(KEPT + DAY, Approved.REJECTED)
    assert maintenance.purge(batch_size=1, seconds=0) == Purged(approvals=1)
    assert maintenance.purge() == Purged(approvals=1)
