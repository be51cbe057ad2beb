"""Upkeep goes on with what a dead worker has left: each once, later each time, and not for ever."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_idempotency import OutcomeUnknown, Respond, RetryLater
from django_idempotency.maintenance import Purged, purge, recover
from django_idempotency.models import IdempotencyRecord
from django_idempotency.models.records import never
from django_idempotency.operations import recovery
from django_idempotency.operations.definitions import REGISTRY, find
from django_idempotency.operations.recovery import RESUMES, Resumed, resume
from django_idempotency.operations.runs import LONGEST_PAUSE, SHORTEST_PAUSE, pause_after
from django_idempotency.timelines import timeline, told
from tests.operations.tills import (
    GATEWAY,
    HOUR,
    Died,
    booked,
    deployed,
    die,
    doubtful,
    incidents,
    interrupted,
    lapse,
    pay,
    record,
)
from tests.support.threads import closing, elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

PAID = Respond(201, {"charge": 1, "amount": 5})
COUNTED = ("completed", "postponed", "parked")


def many(count: int) -> None:
    """So many operations that died inside their calls, in this order."""
    for number in range(count):
        GATEWAY.after = Died()
        with pytest.raises(Died):
            pay.run(key=f"k{number}", amount=5)
        moment = timezone.now() - timedelta(hours=1) + timedelta(seconds=number)
        IdempotencyRecord.objects.filter(key=f"k{number}").update(lease_until=moment, claimed_at=moment)


class TestResuming:
    def test_what_a_dead_worker_left_is_finished_and_the_client_finds_its_answer(self) -> None:
        interrupted()
        assert resume() == Resumed(completed=1)
        assert (record().state, booked(), GATEWAY.names) == ("completed", 1, ["charge", "find"])
        assert record().token == 2
        assert pay.run(key="k", amount=5) == PAID

    def test_one_that_still_runs_is_left_alone(self) -> None:
        GATEWAY.after = Died()
        with pytest.raises(Died):
            pay.run(key="k", amount=5)
        assert resume() == Resumed()
        assert record().resumes == 0

    def test_nothing_is_due_twice(self) -> None:
        interrupted()
        resume()
        assert resume() == Resumed()

    def test_what_is_due_again_at_once_waits_for_the_next_time(self) -> None:
        interrupted()
        deployed(lambda op, amount: RetryLater(0))
        assert resume(batch_size=1) == Resumed(postponed=1)
        assert record().resumes == 0

    def test_two_at_once_resume_each_once(self) -> None:
        many(6)
        begin = threading.Barrier(2)

        def one() -> Resumed:
            begin.wait(5)
            return closing(resume)

        with ThreadPoolExecutor(2) as pool:
            found = [future.result() for future in [pool.submit(one) for _ in range(2)]]
        for _ in range(6):
            # SQLite may have told one of them that the other was writing.
            IdempotencyRecord.objects.filter(state="processing").update(
                lease_until=timezone.now() - HOUR, resume_at=None
            )
            found.append(resume())
        assert sum(each.completed for each in found) == 6
        assert (len(GATEWAY.charged), booked(), GATEWAY.names.count("charge")) == (6, 6, 6)

    def test_the_oldest_come_first_and_all_come_in_batches(self) -> None:
        many(5)
        sums: list[Resumed] = []
        assert resume(batch_size=2, progress=sums.append) == Resumed(completed=5)
        seen = [key for name, key, _ in GATEWAY.calls if name == "find"]
        assert seen == [key for name, key, _ in GATEWAY.calls if name == "charge"]
        assert sums == [Resumed(completed=number) for number in range(1, 6)]

    def test_a_dry_run_changes_nothing(self) -> None:
        many(3)
        before = list(IdempotencyRecord.objects.order_by("key").values())
        assert resume(dry_run=True) == Resumed(postponed=3)
        assert list(IdempotencyRecord.objects.order_by("key").values()) == before
        assert GATEWAY.names.count("find") == 0

    def test_none_is_begun_after_its_time(self) -> None:
        many(2)
        assert resume(seconds=0) == Resumed()

    def test_what_can_be_read_of_a_batch_is_read_at_once(self) -> None:
        many(3)
        with CaptureQueriesContext(connection) as queries:
            resume(dry_run=True)
        assert len(queries) == 1


class TestPuttingOff:
    def test_each_time_it_is_left_alone_for_longer(self) -> None:
        longest = [min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**number) for number in range(30)]
        for number, limit in enumerate(longest):
            pauses = [pause_after(number) for _ in range(200)]
            assert limit / 2 <= min(pauses) <= max(pauses) <= limit
            # They do not all come at once.
            assert max(pauses) - min(pauses) > limit / 5
        assert sum(longest[:RESUMES], timedelta()) > timedelta(hours=3)

    def test_one_that_fails_again_is_put_off_and_counted(self) -> None:
        interrupted()
        GATEWAY.finding = ConnectionError()
        assert resume() == Resumed(postponed=1)
        found = record()
        assert (found.resumes, found.state) == (1, "processing")
        assert SHORTEST_PAUSE <= found.resume_at - found.lease_until <= SHORTEST_PAUSE * 2
        assert resume() == Resumed()

    def test_when_it_is_due_it_is_resumed(self) -> None:
        interrupted()
        GATEWAY.finding = doubtful()
        resume()
        GATEWAY.finding = None
        lapse()
        assert resume() == Resumed(completed=1)

    def test_after_so_many_times_it_is_left_to_a_person(self) -> None:
        interrupted()
        GATEWAY.finding = doubtful()
        for _ in range(RESUMES):
            assert resume() == Resumed(postponed=1)
            lapse()
        assert resume() == Resumed(parked=1)
        assert (record().state, GATEWAY.names.count("find")) == ("unknown", RESUMES)
        assert incidents() == [("unknown", f"taken up {RESUMES} times and never finished")]
        lapse()
        assert resume() == Resumed()

    def test_a_client_s_retries_are_not_counted(self) -> None:
        interrupted()
        GATEWAY.finding = ConnectionError()
        for _ in range(3):
            with pytest.raises(ConnectionError):
                pay.run(key="k", amount=5)
        assert record().resumes == 0

    def test_what_nobody_knows_is_left_to_a_person_at_once(self) -> None:
        GATEWAY.key_ttl = None
        GATEWAY.before = Died()
        die(lambda: pay.run(key="k", amount=5))
        assert resume() == Resumed(parked=1)
        assert record().state == "unknown"

    def test_what_was_refused_before_anything_was_done_is_never_resumed(self) -> None:
        def function(op: Any, *, amount: int) -> Any:
            raise PermissionDenied

        with pytest.raises(PermissionDenied):
            deployed(function).run(key="k", amount=5)
        lapse()
        assert resume() == Resumed()

    def test_nor_where_times_have_no_zones(self, settings: Any) -> None:
        def function(op: Any, *, amount: int) -> Any:
            raise PermissionDenied

        settings.USE_TZ = False
        with pytest.raises(PermissionDenied):
            deployed(function).run(key="k", amount=5)
        found = record()
        assert found.resume_at == never()
        assert "only its client can send it again" in told(found)
        assert not any("Upkeep" in entry.what for entry in timeline(found))
        assert resume() == Resumed()
        long_ago = timezone.now() - timedelta(days=4)
        IdempotencyRecord.objects.update(claimed_at=long_ago, lease_until=long_ago)
        assert purge() == Purged(shrunk=1)


class TestReleases:
    def test_one_of_an_unknown_name_waits_until_a_release_knows_it(self) -> None:
        interrupted()
        known = REGISTRY.pop("tests.pay")
        assert resume() == Resumed(postponed=1)
        assert incidents() == [("failed", "LookupError")]
        REGISTRY["tests.pay"] = known
        lapse()
        assert resume() == Resumed(completed=1)

    @pytest.mark.parametrize("name", ["", "nowhere", "no.such.module", "os.path", "tests.operations.tills.nothing"])
    def test_a_name_that_leads_nowhere_is_none(self, name: str) -> None:
        assert find(name) is None

    def test_a_name_is_found_once_its_module_is_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        name = "tests.operations.released.Till.pay"
        REGISTRY.pop(name, None)
        monkeypatch.delitem(sys.modules, "tests.operations.released", raising=False)
        found = find(name)
        assert found is not None
        assert found.name == name

    @pytest.mark.parametrize(
        "fault", [ImproperlyConfigured("no profile 'payments'"), ImportError("no module 'payments'")]
    )
    def test_one_under_faulty_settings_is_counted_told_and_left_to_a_person_in_the_end(
        self, monkeypatch: pytest.MonkeyPatch, fault: Exception
    ) -> None:
        def faulty(row: Any, alias: str) -> Any:
            raise fault

        interrupted()
        with monkeypatch.context() as patched:
            patched.setattr(recovery, "policy_of", faulty)
            assert resume() == Resumed(postponed=1)
            assert (record().resumes, incidents()) == (1, [("failed", "ImproperlyConfigured")])
            assert resume() == Resumed()
        lapse()
        IdempotencyRecord.objects.update(resumes=RESUMES)
        monkeypatch.setattr(recovery, "policy_of", faulty)
        assert resume() == Resumed(parked=1)
        assert record().state == "unknown"

    def test_a_changed_one_is_left_to_a_person(self) -> None:
        interrupted()
        deployed(lambda op, amount: Respond(200))
        assert resume() == Resumed(parked=1)


class TestOtherUpkeep:
    def test_recover_leaves_operations_alone(self) -> None:
        interrupted()
        assert (recover().released, recover().doubtful, record().state) == (0, 0, "processing")

    def test_purge_leaves_unfinished_operations_alone(self) -> None:
        interrupted()
        purge()
        assert resume() == Resumed(completed=1)

    def test_resume_leaves_views_alone(self) -> None:
        interrupted()
        IdempotencyRecord.objects.update(operation="")
        assert resume() == Resumed()


class TestOvertaking:
    def test_who_was_faster_has_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        interrupted()
        real = recovery._taken_up

        def overtaken(records: Any, row: Any, policy: Any) -> Any:
            assert elsewhere(lambda: pay.run(key="k", amount=5)) == PAID
            return real(records, row, policy)

        monkeypatch.setattr(recovery, "_taken_up", overtaken)
        assert resume() == Resumed()
        assert booked() == 1

    def test_who_was_faster_and_put_it_off_has_had_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        interrupted()
        real, GATEWAY.finding = recovery._taken_up, doubtful()

        def overtaken(records: Any, row: Any, policy: Any) -> Any:
            monkeypatch.setattr(recovery, "_taken_up", real)
            assert elsewhere(resume) == Resumed(postponed=1)
            elsewhere(lapse)
            return real(records, row, policy)

        monkeypatch.setattr(recovery, "_taken_up", overtaken)
        assert resume() == Resumed()
        assert (record().resumes, record().token) == (1, 2)

    def test_upkeep_that_is_overtaken_while_it_runs_changes_nothing(self) -> None:
        interrupted()

        def settle() -> Any:
            IdempotencyRecord.objects.update(state="unknown", token=9)

        def find(**_: Any) -> Any:
            elsewhere(settle)
            return {"number": 1, "amount": 5}

        GATEWAY.find = find  # type: ignore[method-assign]
        try:
            assert resume() == Resumed(parked=1)
        finally:
            del GATEWAY.find
        assert (record().state, booked()) == ("unknown", 0)
        with pytest.raises(OutcomeUnknown):
            pay.run(key="k", amount=5)
