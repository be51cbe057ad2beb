"""Purge and recover: what they touch, what they leave alone, and what has changed under their hands."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.signals import pre_delete
from django.utils import timezone

from django_idempotency import maintenance
from django_idempotency.maintenance import Purged, Recovered, due, purge, recover
from django_idempotency.models import IdempotencyRecord
from django_idempotency.signals import recovered
from tests.maintenance.gaps import meanwhile
from tests.support.records import HOUR, completed, states, stored, tombstone
from tests.support.threads import before

pytestmark = pytest.mark.django_db(transaction=True)


def again(record, **columns):
    """Another request under a record's key: the old record is gone and a new one has its id."""
    now = timezone.now()
    IdempotencyRecord.objects.filter(pk=record.pk).delete()
    new = {"state": "processing", "claim": record.claim + 10_000, "token": 0, "claimed_at": now}
    new |= {"status": None, "headers": "", "body": None, "expires_at": None, "forget_at": None, **columns}
    unchanged = {name: getattr(record, name) for name in ("id", "namespace", "scope", "key", "fingerprint", "method")}
    return IdempotencyRecord.objects.create(path=record.path, **{**unchanged, **new})


@pytest.fixture
def somebody():
    """A second connection, for what somebody else does in a transaction of their own."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no row locks")
    other = connection.copy()
    other.set_autocommit(False)
    yield other
    other.rollback()
    other.close()


@pytest.fixture
def heard():
    records = []

    def receive(sender, record, **kwargs):
        records.append((sender, record))

    recovered.connect(receive)
    yield records
    recovered.disconnect(receive)


def hold(other, record):
    with other.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {IdempotencyRecord._meta.db_table} WHERE id = %s FOR UPDATE", [record.pk])


class TestPurge:
    def test_it_comes_to_its_end_where_times_have_no_zones(self, settings):
        settings.USE_TZ = False
        tombstone(forgotten=HOUR)
        assert purge() == Purged(deleted=1)

    def test_an_expired_answer_shrinks_to_a_tombstone(self):
        before = completed(expired=HOUR, forgotten=-HOUR)
        assert purge() == Purged(shrunk=1, deleted=0)
        after = IdempotencyRecord.objects.get()
        assert (after.state, after.status, after.headers, after.body) == ("tombstone", None, "", None)
        kept = ("id", "key", "scope", "claim", "expires_at", "forget_at")
        assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
        assert bytes(after.fingerprint) == before.fingerprint

    def test_a_tombstone_past_its_time_is_deleted(self):
        tombstone(forgotten=HOUR)
        assert purge() == Purged(shrunk=0, deleted=1)
        assert states() == {}

    def test_an_answer_past_its_tombstone_is_deleted_at_once(self):
        completed(expired=2 * HOUR, forgotten=HOUR)
        assert purge() == Purged(shrunk=0, deleted=1)
        assert states() == {}

    def test_what_is_not_due_stays_as_it_is(self):
        completed(expired=-HOUR, forgotten=-2 * HOUR)
        tombstone(forgotten=-HOUR)
        before = states()
        assert purge() == Purged()
        assert states() == before
        assert IdempotencyRecord.objects.exclude(body=None).count() == 1

    @pytest.mark.parametrize("state", ["processing", "unknown"])
    def test_claims_and_unknown_outcomes_are_never_touched(self, state):
        stored(state, key="kept", claimed_at=9999 * HOUR, expires_at=9998 * HOUR, forget_at=9997 * HOUR)
        assert purge() == Purged()
        assert states() == {"kept": state}

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 1000])
    def test_all_that_is_due_is_purged_whatever_the_size_of_a_batch(self, batch_size):
        for age in (1, 1, 1, 2, 3):
            tombstone(forgotten=age * HOUR)
            completed(expired=age * HOUR, forgotten=age * HOUR)
            completed(expired=age * HOUR, forgotten=-HOUR)
        assert purge(batch_size=batch_size) == Purged(shrunk=5, deleted=10)
        assert set(states().values()) == {"tombstone"}
        assert purge() == Purged()

    def test_records_due_at_the_same_moment_fill_more_than_one_batch(self):
        for _ in range(5):
            tombstone(forgotten=HOUR)
        IdempotencyRecord.objects.update(forget_at=timezone.now() - HOUR)
        assert purge(batch_size=2) == Purged(deleted=5)

    def test_progress_tells_the_sums_after_each_batch(self):
        for _ in range(3):
            tombstone(forgotten=HOUR)
        completed(expired=HOUR, forgotten=-HOUR)
        told = []
        purge(batch_size=2, progress=told.append)
        assert told == [Purged(deleted=2), Purged(deleted=3), Purged(deleted=3, shrunk=1)]

    def test_a_dry_run_counts_and_changes_nothing(self):
        tombstone(forgotten=HOUR)
        completed(expired=2 * HOUR, forgotten=HOUR)
        completed(expired=HOUR, forgotten=-HOUR)
        before = states()
        assert purge(dry_run=True) == Purged(shrunk=1, deleted=2)
        assert states() == before
        assert purge() == Purged(shrunk=1, deleted=2)

    @pytest.mark.parametrize("batch_size", [0, -1, maintenance.LARGEST_BATCH + 1])
    def test_a_batch_of_no_possible_size_is_refused(self, batch_size):
        with pytest.raises(ValueError, match="batch_size must be from 1 to"):
            purge(batch_size=batch_size)

    def test_work_is_found_through_the_index(self):
        found = maintenance.records_in(None).filter(due.expired(maintenance.records_in(None))).order_by("due_at")
        with transaction.atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SET LOCAL enable_seqscan = off")
            assert IdempotencyRecord._meta.indexes[1].name in found.explain()


class TestPurgeAgainstClaims:
    def test_a_tombstone_claimed_again_after_it_was_chosen_survives(self):
        old = tombstone(forgotten=HOUR)
        with meanwhile(lambda: again(old), old):
            assert purge() == Purged()
        assert states() == {old.key: "processing"}

    def test_a_forgotten_answer_given_anew_after_it_was_chosen_survives(self):
        old = completed(expired=2 * HOUR, forgotten=HOUR)
        later = timezone.now() + HOUR
        with meanwhile(
            lambda: again(old, state="completed", status=200, body=b"new", expires_at=later, forget_at=later), old
        ):
            assert purge() == Purged()
        assert bytes(IdempotencyRecord.objects.get().body) == b"new"

    def test_an_expired_answer_claimed_again_after_it_was_chosen_is_not_shrunk(self):
        old = completed(expired=HOUR, forgotten=-HOUR)
        with meanwhile(lambda: again(old), old):
            assert purge() == Purged()
        assert states() == {old.key: "processing"}

    def test_an_expired_answer_given_anew_after_it_was_chosen_is_not_shrunk(self):
        old = completed(expired=HOUR, forgotten=-HOUR)
        later = timezone.now() + HOUR
        with meanwhile(
            lambda: again(old, state="completed", status=200, body=b"new", expires_at=later, forget_at=later), old
        ):
            assert purge() == Purged()
        assert bytes(IdempotencyRecord.objects.get().body) == b"new"

    def test_a_receiver_of_django_s_signals_does_not_make_deleting_inexact(self):
        """Django's delete() would read the records for the receiver, then delete by primary key alone."""

        def receive(**kwargs):
            raise AssertionError("the records were read for a receiver")

        tombstone(forgotten=HOUR)
        pre_delete.connect(receive, sender=IdempotencyRecord)
        try:
            assert purge() == Purged(deleted=1)
        finally:
            pre_delete.disconnect(receive, sender=IdempotencyRecord)

    def test_what_somebody_holds_is_skipped_without_waiting(self, somebody):
        held = [tombstone(forgotten=3 * HOUR), tombstone(forgotten=2 * HOUR)]
        tombstone(forgotten=HOUR)
        for record in held:
            hold(somebody, record)
        with connection.cursor() as cursor:
            on_mariadb = connection.vendor == "mysql"
            cursor.execute("SET innodb_lock_wait_timeout = 1" if on_mariadb else "SET lock_timeout = 100")
        try:
            assert purge(batch_size=1) == Purged(deleted=1)
        finally:
            connection.close()
        assert states().keys() == {record.key for record in held}


class TestRecover:
    def test_a_claim_that_nobody_holds_is_released(self, heard):
        old = stored("processing")
        assert recover() == Recovered(released=1, doubtful=0)
        assert states() == {}
        ((sender, record),) = heard
        assert sender is IdempotencyRecord
        expected = (old.pk, old.key, "user:1", old.claim, "processing")
        assert tuple(record[name] for name in ("id", "key", "scope", "claim", "state")) == expected

    def test_a_claim_whose_view_committed_on_its_own_is_left_to_a_person(self, heard):
        old = stored("processing", token=1)
        assert recover() == Recovered(released=0, doubtful=1)
        assert states() == {old.key: "unknown"}
        assert heard == []

    def test_a_young_claim_is_left_alone(self):
        young = stored("processing", claimed_at=timedelta(minutes=4))
        assert recover() == Recovered()
        assert recover(older_than=timedelta(minutes=3)) == Recovered(released=1)
        assert young.key not in states()

    @pytest.mark.parametrize("older_than", [timedelta(0), -HOUR])
    def test_a_claim_younger_than_a_second_is_left_alone_whatever_is_asked(self, older_than):
        # In the future, so that a slow machine does not let it come of age.
        young = stored("processing", claimed_at=-timedelta(minutes=1))
        stored("processing", claimed_at=timedelta(seconds=2))
        assert recover(older_than=older_than) == Recovered(released=1)
        assert states() == {young.key: "processing"}

    def test_the_least_age_is_the_guard_of_the_protocol(self, monkeypatch):
        asked = []
        monkeypatch.setattr(due, "ago", lambda records, age: asked.append(age) or timezone.now())
        recover(older_than=timedelta(0))
        assert asked == [timedelta(seconds=1)]

    def test_nothing_but_claims_is_touched(self):
        completed(expired=HOUR, forgotten=HOUR)
        tombstone(forgotten=HOUR)
        stored("unknown", token=1)
        before = states()
        assert recover() == Recovered()
        assert states() == before

    @pytest.mark.parametrize("batch_size", [1, 2, 1000])
    def test_all_are_recovered_whatever_the_size_of_a_batch(self, batch_size):
        for token in (0, 1, 0, 2, 0):
            stored("processing", token=token)
        told = []
        assert recover(batch_size=batch_size, progress=told.append) == Recovered(released=3, doubtful=2)
        assert told[-1] == Recovered(released=3, doubtful=2)
        assert list(states().values()) == ["unknown", "unknown"]

    def test_a_dry_run_counts_and_changes_nothing(self, heard):
        stored("processing")
        stored("processing", token=1)
        before = states()
        assert recover(dry_run=True) == Recovered(released=1, doubtful=1)
        assert states() == before
        assert heard == []

    def test_a_receiver_that_raises_stops_nothing(self, heard):
        def receive(**kwargs):
            raise RuntimeError("a receiver's own fault")

        stored("processing")
        stored("processing")
        recovered.connect(receive)
        try:
            assert recover() == Recovered(released=2)
        finally:
            recovered.disconnect(receive)
        assert len(heard) == 2

    def test_the_signal_waits_for_the_commit_of_a_transaction_around_it(self, heard):
        stored("processing")
        with transaction.atomic():
            recover()
            assert heard == []
        assert len(heard) == 1


class TestRecoverAgainstClaims:
    def test_a_claim_whose_owner_lives_is_skipped_without_waiting(self, somebody):
        held = stored("processing", claimed_at=3 * HOUR)
        stored("processing")
        with somebody.cursor() as cursor:
            cursor.execute(f"UPDATE {IdempotencyRecord._meta.db_table} SET token = 1 WHERE id = %s", [held.pk])
        assert recover(dry_run=True) == Recovered(released=1)
        assert recover(batch_size=1) == Recovered(released=1)
        assert states() == {held.key: "processing"}

    def test_a_key_claimed_again_after_it_was_chosen_survives(self, heard):
        old = stored("processing")
        with meanwhile(lambda: again(old, claimed_at=old.claimed_at), old):
            assert recover() == Recovered()
        assert states() == {old.key: "processing"}
        assert heard == []

    @pytest.mark.parametrize("change", [{"token": 1}, {"state": "completed"}, {"state": "unknown"}])
    def test_a_claim_that_went_on_after_it_was_chosen_is_not_released(self, heard, change):
        old = stored("processing")
        with meanwhile(lambda: IdempotencyRecord.objects.filter(pk=old.pk).update(**change), old):
            assert recover() == Recovered()
        assert len(states()) == 1
        assert heard == []

    @pytest.mark.parametrize("change", [{"state": "completed"}, {"claim": 99_999}])
    def test_a_doubtful_claim_that_went_on_after_it_was_chosen_is_left_alone(self, change):
        old = stored("processing", token=1)
        with meanwhile(lambda: IdempotencyRecord.objects.filter(pk=old.pk).update(**change), old):
            assert recover() == Recovered()
        assert states() == {old.key: change.get("state", "processing")}


class TestConflicts:
    @staticmethod
    def failing(sqlstate):
        """The statement that shrinks fails."""

        def fail():
            raise OperationalError("could not serialize access") from type(
                "Fault", (Exception,), {"sqlstate": sqlstate}
            )()

        return before("complete", fail)

    def test_a_serialization_failure_leaves_the_batch_for_the_next_run(self):
        old = completed(expired=HOUR, forgotten=-HOUR)
        with self.failing("40001"):
            assert purge() == Purged()
        assert states() == {old.key: "completed"}

    def test_any_other_failure_is_raised(self):
        completed(expired=HOUR, forgotten=-HOUR)
        with self.failing("53100"), pytest.raises(OperationalError):
            purge()


class TestWhere:
    def test_the_default_profile_names_the_database(self, settings):
        settings.IDEMPOTENCY = {"default": {"DATABASE": "other"}}
        assert maintenance.records_in(None).db == "other"
        assert maintenance.records_in("default").db == "default"

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_only_the_database_asked_for_is_worked_on(self):
        kept = tombstone(forgotten=HOUR)
        tombstone(forgotten=HOUR, using="other")
        assert purge(using="other") == Purged(deleted=1)
        assert states() == {kept.key: "tombstone"}
