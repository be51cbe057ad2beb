"""The journals of durable operations under purge, erasure and a change of keys: they go with the record, and not before."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection
from django.db.models import F
from django.http import Http404
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_idempotency import Respond, operation
from django_idempotency.encryption import key_id, opened
from django_idempotency.erasure import Erased, erase
from django_idempotency.exceptions import KeyExpired
from django_idempotency.maintenance import Purged, purge
from django_idempotency.models import IdempotencyRecord, IdempotencyStep
from django_idempotency.operations.definitions import REGISTRY
from django_idempotency.operations.recovery import Resumed, resume
from django_idempotency.rotation import rekey
from tests.bank.models import Payment
from tests.operations import tills
from tests.operations.tills import GATEWAY, Died, die, interrupted, lapse, pay, record
from tests.support.records import HOUR, completed

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    tills.restore()
    yield
    tills.restore()


def paid(key: str = "k") -> None:
    assert pay.run(key=key, scope="user:1", amount=5).status == 201


def past(**ages: timedelta) -> None:
    IdempotencyRecord.objects.update(**{name: F(name) - age for name, age in ages.items()})


def sizes() -> tuple[int, int]:
    """How many records and steps there are."""
    return IdempotencyRecord.objects.count(), IdempotencyStep.objects.count()


def texts() -> bytes:
    """All that is stored of operations."""
    records = IdempotencyRecord.objects.values_list("operation_input", "body", "request_body")
    rows = [*records, *IdempotencyStep.objects.values_list("input", "result")]
    return b" ".join(bytes(value) for row in rows for value in row if value is not None)


class TestPurge:
    def test_the_journal_goes_with_the_answer(self) -> None:
        paid("kept")
        paid()
        IdempotencyRecord.objects.filter(key="k").update(expires_at=F("expires_at") - 4 * DAY)
        assert purge() == Purged(shrunk=1)
        assert sizes() == (2, 3)
        shrunk = IdempotencyRecord.objects.get(key="k")
        assert (shrunk.state, shrunk.operation_input, shrunk.operation) == ("tombstone", None, "tests.pay")

    @pytest.mark.parametrize("batch_size", [1, 1000])
    def test_the_journal_goes_with_the_record(self, batch_size: int) -> None:
        paid("a")
        paid("b")
        past(expires_at=40 * DAY, forget_at=40 * DAY)
        assert purge(batch_size=batch_size) == Purged(deleted=2)
        assert sizes() == (0, 0)

    def test_what_has_not_ended_keeps_its_journal(self) -> None:
        interrupted()
        past(claimed_at=400 * DAY, lease_until=400 * DAY)
        assert purge() == Purged()
        assert sizes() == (1, 2)
        IdempotencyRecord.objects.update(state="unknown")
        assert purge() == Purged()
        assert sizes() == (1, 2)

    def test_records_of_views_cost_not_one_statement_more(self) -> None:
        for _ in range(3):
            completed(expired=HOUR, forgotten=-HOUR)
            completed(expired=HOUR, forgotten=HOUR)
        with CaptureQueriesContext(connection) as queries:
            assert purge() == Purged(shrunk=3, deleted=3)
        table = IdempotencyStep._meta.db_table
        sent = [query["sql"].replace('"', "").replace("`", "") for query in queries]
        assert [sql for sql in sent if sql.startswith(f"DELETE FROM {table}")] == []


class TestForgotten:
    @pytest.mark.parametrize("steps", ["kept", "purged"])
    def test_a_key_that_is_free_again_finds_no_steps_of_before(self, steps: str) -> None:
        paid()
        past(expires_at=40 * DAY, forget_at=40 * DAY)
        if steps == "purged":
            purge()
        GATEWAY.charged.clear()
        GATEWAY.after = Died()
        die(lambda: pay.run(key="k", scope="user:1", amount=7))
        assert resume() == Resumed(completed=1)
        assert pay.run(key="k", scope="user:1", amount=7) == Respond(201, {"charge": 1, "amount": 7})
        assert list(Payment.objects.filter(key="booked").values_list("amount", flat=True)) == [5, 7]

    @pytest.mark.parametrize(("amount", "resumed"), [(5, Resumed(completed=1)), (7, Resumed(parked=1))])
    def test_where_a_record_was_deleted_by_hand_nothing_is_done_again(self, amount: int, resumed: Resumed) -> None:
        paid()
        IdempotencyRecord.objects.all().delete()
        with pytest.raises(IntegrityError):
            pay.run(key="k", scope="user:1", amount=amount)
        lapse()
        assert resume() == resumed
        assert (GATEWAY.names, Payment.objects.count(), sizes()) == (["charge"], 2, (1, 3))

    def test_a_gateway_that_remembers_keys_for_longer_than_we_do_is_not_called(self) -> None:
        GATEWAY.key_ttl = 34 * DAY
        with pytest.raises(ImproperlyConfigured, match="34 days, 0:00:00, longer than RETENTION and TOMBSTONE"):
            pay.run(key="k", amount=5)
        assert GATEWAY.names == []
        GATEWAY.key_ttl = 33 * DAY
        assert resume() == Resumed()
        lapse()
        assert resume() == Resumed(completed=1)


class TestNeverBegun:
    def refused(self) -> None:
        @operation(name="tests.pay")
        def lookup(op: Any, *, amount: int) -> Any:
            raise Http404

        with pytest.raises(Http404):
            lookup.run(key="k", scope="user:1", amount=5)
        assert record().resume_at == datetime(9999, 1, 1, tzinfo=UTC)
        tills.restore()

    def test_it_becomes_a_tombstone_once_it_would_be_too_late_for_a_retry(self) -> None:
        self.refused()
        past(claimed_at=3 * DAY - HOUR, lease_until=3 * DAY - HOUR)
        assert purge() == Purged()
        past(claimed_at=HOUR, lease_until=HOUR)
        assert purge(dry_run=True) == purge() == Purged(shrunk=1)
        found = record()
        assert (found.state, found.operation_input, (found.forget_at - found.expires_at).days) == (
            "tombstone",
            None,
            30,
        )
        with pytest.raises(KeyExpired):
            pay.run(key="k", scope="user:1", amount=5)

    def test_a_retry_before_that_takes_it_up_for_good(self) -> None:
        self.refused()
        GATEWAY.after = Died()
        with pytest.raises(Died):
            pay.run(key="k", scope="user:1", amount=5)
        past(claimed_at=9 * DAY, lease_until=9 * DAY)
        assert purge() == Purged()
        assert resume() == Resumed(completed=1)
        assert (len(GATEWAY.charged), record().state) == (1, "completed")

    def test_what_has_a_journal_is_never_taken_for_one(self) -> None:
        interrupted()
        IdempotencyRecord.objects.update(resume_at=datetime(9999, 1, 1, tzinfo=UTC))
        past(claimed_at=9 * DAY, lease_until=9 * DAY)
        assert purge() == Purged()
        assert sizes() == (1, 2)


class TestErase:
    def test_input_and_steps_of_a_finished_operation_go(self) -> None:
        paid()
        assert b'"amount"' in texts()
        assert erase("user:1") == Erased(records=1)
        assert texts() == b""
        assert sizes() == (1, 3)
        assert pay.run(key="k", scope="user:1", amount=5).status == 201
        assert len(GATEWAY.charged) == 1

    @pytest.mark.parametrize("state", ["processing", "unknown"])
    def test_what_has_not_ended_is_left_and_said(self, state: str) -> None:
        GATEWAY.after = Died()
        die(lambda: pay.run(key="k", scope="user:1", amount=5))
        IdempotencyRecord.objects.update(state=state)
        before = texts()
        assert erase("user:1", dry_run=True) == erase("user:1") == Erased(held=1)
        assert texts() == before

    def test_others_keep_theirs(self) -> None:
        paid()
        assert erase("user:2") == Erased()
        assert b'"amount"' in texts()


class TestRekey:
    def test_inputs_and_steps_are_brought_under_the_newest_key(self) -> None:
        fernet = pytest.importorskip("cryptography.fernet")
        old, new = (fernet.Fernet.generate_key().decode() for _ in range(2))
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [old]}}):
            paid()
            GATEWAY.after = Died()
            with pytest.raises(Died):
                pay.run(key="dies", scope="user:1", amount=5)
            assert b'"amount"' not in texts()
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [new, old]}}):
            # Two inputs, five steps of which four have a result, one answer.
            assert (rekey(dry_run=True).rekeyed, rekey().rekeyed, rekey().rekeyed) == (12, 12, 0)
        for step in IdempotencyStep.objects.all():
            assert step.input_key_id == key_id(new)
            assert opened(bytes(step.input), step.input_key_id, [new])
        with override_settings(IDEMPOTENCY={"default": {"ENCRYPTION_KEYS": [new]}}):
            past(lease_until=HOUR)
            assert resume() == Resumed(completed=1)

    def test_other_profiles_keep_their_keys(self) -> None:
        fernet = pytest.importorskip("cryptography.fernet")
        profiles = {name: {"ENCRYPTION_KEYS": [fernet.Fernet.generate_key().decode()]} for name in ("default", "other")}
        with override_settings(IDEMPOTENCY=profiles):
            paid()
            assert rekey().rekeyed == 0


class TestResume:
    """Many at once, in batches."""

    @staticmethod
    def left(number: int) -> None:
        for place in range(number):
            GATEWAY.after = Died()
            with pytest.raises(Died):
                pay.run(key=f"k{place}", amount=5)
        past(lease_until=HOUR)

    def test_no_more_than_a_batch_is_read_at_once(self) -> None:
        self.left(7)
        with CaptureQueriesContext(connection) as queries:
            assert resume(batch_size=3) == Resumed(completed=7)
        listings = [query["sql"] for query in queries if "ORDER BY" in query["sql"] and "LIMIT 3" in query["sql"]]
        assert len(listings) == 4

    def test_the_input_is_read_one_by_one(self) -> None:
        self.left(2)
        with CaptureQueriesContext(connection) as queries:
            assert resume() == Resumed(completed=2)
        (listing, *_) = [query["sql"] for query in queries if "LIMIT 100" in query["sql"]]
        assert "operation_input" not in listing

    def test_one_that_cannot_go_on_holds_up_no_other(self) -> None:
        self.left(2)
        first = IdempotencyRecord.objects.order_by("claimed_at").first()
        IdempotencyRecord.objects.filter(pk=first.pk).update(operation="tests.nowhere")
        assert resume() == Resumed(completed=1, postponed=1)

    def test_nor_does_one_that_its_settings_hold_up(self) -> None:
        self.left(2)
        first = IdempotencyRecord.objects.order_by("claimed_at").first()
        IdempotencyRecord.objects.filter(pk=first.pk).update(operation="tests.elsewhere")
        operation("nowhere", name="tests.elsewhere")(tills.paying)
        try:
            assert resume() == Resumed(completed=1, postponed=1)
        finally:
            del REGISTRY["tests.elsewhere"]
