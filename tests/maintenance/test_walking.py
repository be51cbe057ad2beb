"""From batch to batch: nothing that is due is passed over, and what others hold keeps nobody for ever."""

from collections import Counter

import pytest
from django.db import connection
from django.utils import timezone

from django_idempotency.maintenance import Purged, purge, records_in
from django_idempotency.maintenance.batches import walked
from django_idempotency.models import IdempotencyRecord
from tests.maintenance.gaps import meanwhile
from tests.support.records import HOUR, completed, states, stored, tombstone
from tests.support.sessions import Somebody

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def somebody():
    somebody = Somebody()
    yield somebody
    somebody.let_go()
    somebody.connection.close()


def due_at_one_moment(count):
    """Return tombstones that ended at the same time."""
    found = [tombstone(forgotten=HOUR) for _ in range(count)]
    IdempotencyRecord.objects.update(forget_at=timezone.now() - HOUR)
    return found


class TestWalked:
    """By a walk that does nothing, as if others held all of it."""

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8])
    def test_each_is_chosen_once_also_where_nothing_can_be_done(self, batch_size):
        at_once = [record.pk for record in due_at_one_moment(5)]
        others = [tombstone(forgotten=age * HOUR).pk for age in (9, 3)]
        seen = []

        def nothing(due, chosen):
            seen.extend(row["id"] for row in chosen)
            return Counter()

        assert list(walked(records_in(None), nothing, batch_size))
        assert (len(seen), set(seen)) == (7, {*at_once, *others})

    def test_the_longest_due_come_first(self):
        ages = (1, 5, 3)
        keys = {age: tombstone(forgotten=age * HOUR).key for age in ages}
        seen = []
        list(walked(records_in(None), lambda due, chosen: seen.extend(row["key"] for row in chosen) or Counter(), 1))
        assert seen == [keys[5], keys[3], keys[1]]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no row locks")
class TestPurgeBesideHolders:
    @pytest.mark.parametrize("batch_size", [1, 2, 1000])
    def test_the_free_ones_of_a_moment_go_and_the_held_ones_stay(self, somebody, batch_size):
        records = due_at_one_moment(7)
        held = sorted(records, key=lambda record: record.pk)[:3]
        for record in held:
            somebody.hold(record)
        assert purge(batch_size=batch_size) == Purged(deleted=4)
        assert states().keys() == {record.key for record in held}
        somebody.let_go()
        assert purge(batch_size=batch_size) == Purged(deleted=3)

    def test_an_answer_that_is_held_is_not_shrunk(self, somebody):
        records = [completed(expired=age * HOUR, forgotten=-HOUR) for age in (3, 2, 1)]
        somebody.hold(records[0])
        assert purge(batch_size=1) == Purged(shrunk=2)
        assert states()[records[0].key] == "completed"


class TestPurgeAgainstChanges:
    """A row that is changed in place keeps its identity, unlike a key that is claimed again."""

    def test_a_record_that_is_to_be_remembered_for_longer_after_it_was_chosen_stays(self):
        old = tombstone(forgotten=HOUR)

        def longer():
            IdempotencyRecord.objects.filter(pk=old.pk).update(forget_at=timezone.now() + HOUR)

        with meanwhile(longer, old):
            assert purge() == Purged()
        assert states() == {old.key: "tombstone"}

    def test_an_answer_that_is_to_be_replayed_for_longer_after_it_was_chosen_stays(self):
        old = completed(expired=HOUR, forgotten=-HOUR)

        def longer():
            IdempotencyRecord.objects.filter(pk=old.pk).update(expires_at=timezone.now() + HOUR)

        with meanwhile(longer, old):
            assert purge() == Purged()
        assert bytes(IdempotencyRecord.objects.get().body) == old.body

    def test_another_purge_that_was_faster_leaves_nothing_to_do(self):
        old = completed(expired=HOUR, forgotten=-HOUR)
        with meanwhile(lambda: IdempotencyRecord.objects.filter(pk=old.pk).update(state="tombstone"), old):
            assert purge() == Purged()
        assert states() == {old.key: "tombstone"}

    def test_what_is_due_behind_a_changed_one_is_purged_in_the_same_batch(self):
        old = tombstone(forgotten=2 * HOUR)
        tombstone(forgotten=HOUR)
        stored("unknown", key="kept", forget_at=HOUR)
        with meanwhile(lambda: IdempotencyRecord.objects.filter(pk=old.pk).delete(), old):
            assert purge() == Purged(deleted=1)
        assert states() == {"kept": "unknown"}
