"""The store of leased claims, on each database."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from django_idempotency.backends import DatabaseBackend
from django_idempotency.backends.db.runs import RUNNING
from django_idempotency.conf import get_policy
from django_idempotency.core.engine import Again, Claim, Completed, Released, Replay, Snapshot, run
from django_idempotency.core.leases import claim, settle
from django_idempotency.exceptions import TransactionBroken
from django_idempotency.maintenance import Recovered, recover
from django_idempotency.models import IdempotencyRecord
from tests.bank.models import Payment
from tests.support.contenders import ANSWER, Work, code, operation
from tests.support.threads import Stage, closing, elsewhere, running

pytestmark = pytest.mark.django_db(transaction=True)

LEASE, HOUR = timedelta(seconds=60), timedelta(hours=1)
OTHER = Snapshot(200, (), b"another")


@pytest.fixture
def store() -> Any:
    return DatabaseBackend(get_policy()).leases()


@pytest.fixture
def asked() -> Any:
    return replace(operation("k"), lease=LEASE)


@pytest.fixture
def vouched(asked: Any) -> Any:
    """The same request of a view that says rerun=True."""
    return replace(asked, rerun=True)


def claimed(store: Any, asked: Any) -> Claim:
    found = claim(store, asked)
    assert isinstance(found, Claim)
    return found


def pass_by(by: timedelta = HOUR) -> None:
    """Move the one record into the past."""
    times = ("claimed_at", "lease_until", "expires_at", "forget_at")
    assert IdempotencyRecord.objects.update(**{name: F(name) - by for name in times}) == 1


def state() -> str | None:
    return IdempotencyRecord.objects.values_list("state", flat=True).first()


def pay(claim: Claim) -> Snapshot:
    Payment.objects.create(key="k", nonce="")
    return ANSWER


def fail(claim: Claim) -> Snapshot:
    Payment.objects.create(key="k", nonce="")
    raise ValueError("a bug in the function")


class TestClaim:
    def test_it_is_visible_at_once_with_its_lease_and_as_started(self, store: Any, asked: Any) -> None:
        claimed(store, asked)
        record = IdempotencyRecord.objects.get()
        assert (record.state, record.token, record.lease_until - record.claimed_at) == ("processing", 1, LEASE)

    def test_another_is_in_flight_while_the_lease_lasts(self, store: Any, asked: Any, vouched: Any) -> None:
        claimed(store, asked)
        pass_by(LEASE - timedelta(seconds=10))
        assert [code(claim(store, one)) for one in (asked, vouched)] == ["in-flight"] * 2
        assert code(claim(store, operation("k", body=b"amount=6"))) == "key-reused"

    def test_a_completed_one_is_replayed_expired_and_forgotten_as_ever(self, store: Any, asked: Any) -> None:
        assert code(settle(store, claimed(store, asked), ANSWER)) == "Completed"
        assert claim(store, asked) == Replay(ANSWER)
        pass_by(timedelta(hours=73))
        assert code(claim(store, asked)) == "key-expired"
        pass_by(timedelta(days=31))
        assert isinstance(claim(store, asked), Claim)

    def test_an_outer_transaction_is_refused(self, store: Any, asked: Any) -> None:
        """Rolled back, it would take the claim with it."""
        with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="inside a database transaction"):
            store.claim(asked)
        assert state() is None

    def test_what_it_costs(self, store: Any, asked: Any) -> None:
        """On PostgreSQL claim and completion; elsewhere a read comes first. A replay is one read."""
        found = claimed(store, asked)
        store.complete(found, ANSWER)
        IdempotencyRecord.objects.all().delete()
        with CaptureQueriesContext(connection) as new:
            settle(store, claimed(store, asked), ANSWER)
        assert len(new) == (2 if connection.vendor == "postgresql" else 3)
        with CaptureQueriesContext(connection) as replayed:
            claim(store, asked)
        assert len(replayed) == 1


class TestFence:
    """Every write compares claim, token and state."""

    WRITES = ("extend", "release", "doubt", "complete", "commit")

    def write(self, store: Any, name: str, mine: Claim) -> Any:
        extra = {"complete": (ANSWER,), "commit": (pay,)}.get(name, ())
        hit = getattr(store, name)(mine, *extra)
        return isinstance(hit, Completed) if name == "commit" else hit

    @pytest.mark.parametrize("name", WRITES)
    def test_the_owner_hits(self, store: Any, asked: Any, name: str) -> None:
        assert self.write(store, name, claimed(store, asked))

    @pytest.mark.parametrize("stale", [{"number": 7}, {"attempt": 2}])
    @pytest.mark.parametrize("name", WRITES)
    def test_another_claim_or_token_hits_nothing(self, store: Any, asked: Any, name: str, stale: Any) -> None:
        mine = claimed(store, asked)
        before = IdempotencyRecord.objects.values().get()
        assert not self.write(store, name, replace(mine, **stale))
        assert IdempotencyRecord.objects.values().get() == before
        assert Payment.objects.count() == 0

    @pytest.mark.parametrize("end", ["complete", "doubt", "release"])
    @pytest.mark.parametrize("name", WRITES)
    def test_an_ended_record_is_not_hit(self, store: Any, asked: Any, name: str, end: str) -> None:
        mine = claimed(store, asked)
        assert self.write(store, end, mine)
        before = list(IdempotencyRecord.objects.values())
        assert not self.write(store, name, mine)
        assert list(IdempotencyRecord.objects.values()) == before
        assert Payment.objects.count() == 0


class TestAgain:
    """The database did it, but its answer was lost: the same is asked once more."""

    def test_a_completion_has_succeeded_once(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        assert [code(settle(store, mine, ANSWER)) for _ in range(2)] == ["Completed"] * 2
        assert settle(store, mine, OTHER) == Replay(ANSWER)

    def test_a_release_has_too(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        assert [code(settle(store, mine, None)) for _ in range(2)] == ["Released"] * 2

    def test_one_whose_key_was_claimed_again_since_is_in_flight(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        settle(store, mine, None)
        claimed(store, asked)
        assert code(settle(store, mine, ANSWER)) == "in-flight"


class TestLapse:
    def test_it_is_written_down_before_anybody_is_told(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        pass_by()
        assert code(claim(store, asked)) == "outcome-unknown"
        assert state() == "unknown"
        assert code(settle(store, mine, ANSWER)) == "outcome-unknown"
        assert code(claim(store, asked)) == "outcome-unknown"

    def test_an_owner_who_is_late_but_first_still_completes(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        pass_by()
        assert store.extend(mine)
        assert code(claim(store, asked)) == "in-flight"
        pass_by()
        assert code(settle(store, mine, ANSWER)) == "Completed"

    def test_it_is_taken_over_where_the_author_vouches_and_the_token_raised(self, store: Any, vouched: Any) -> None:
        first = claimed(store, vouched)
        pass_by()
        second = claimed(store, vouched)
        assert (second.number, second.attempt) == (first.number, 2)
        assert code(claim(store, vouched)) == "in-flight"
        assert not store.extend(first)
        assert code(settle(store, first, OTHER)) == "in-flight"
        assert code(settle(store, second, ANSWER)) == "Completed"
        assert settle(store, first, OTHER) == Replay(ANSWER)

    def test_another_request_takes_nothing_over(self, store: Any, vouched: Any) -> None:
        claimed(store, vouched)
        pass_by()
        other = replace(operation("k", body=b"amount=6"), lease=LEASE, rerun=True)
        assert code(claim(store, other)) == "key-reused"

    def test_of_two_only_one_takes_over(self, store: Any, vouched: Any) -> None:
        claimed(store, vouched)
        pass_by()
        seen = store.read(vouched)
        second = claimed(store, vouched)
        # The other had read the lapsed record before.
        assert store._judged(vouched, seen) is Again.UNCLEAR
        assert store.extend(second)

    def test_recover_leaves_a_lapsed_claim_to_a_person_and_a_running_one_alone(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        IdempotencyRecord.objects.update(claimed_at=F("claimed_at") - HOUR)
        assert recover() == Recovered()
        pass_by()
        assert recover() == Recovered(doubtful=1)
        assert (state(), store.extend(mine)) == ("unknown", False)

    def test_what_recover_has_left_is_still_taken_over_where_the_author_vouches(
        self, store: Any, asked: Any, vouched: Any
    ) -> None:
        claimed(store, vouched)
        pass_by()
        recover()
        assert code(claim(store, asked)) == "outcome-unknown"
        assert claimed(store, vouched).attempt == 2


class TestSynchronous:
    """A view that became a coroutine, or is one no more, meets the records of before."""

    def test_a_leased_claim_is_not_run_by_a_synchronous_view(self, store: Any, asked: Any) -> None:
        backend, work = DatabaseBackend(get_policy()), Work()
        claimed(store, asked)
        IdempotencyRecord.objects.update(claimed_at=F("claimed_at") - HOUR)
        assert code(run(backend, asked, work)) == "in-flight"
        pass_by()
        assert code(run(backend, asked, work)) == "outcome-unknown"
        assert work.runs == 0

    def test_the_answers_of_both_are_replayed_by_both(self, store: Any, asked: Any) -> None:
        backend, later = DatabaseBackend(get_policy()), replace(operation("later"), lease=LEASE)
        assert code(run(backend, asked, Work())) == "Completed"
        assert claim(store, asked) == Replay(ANSWER)
        settle(store, claimed(store, later), ANSWER)
        assert run(backend, later, Work()) == Replay(ANSWER)

    def test_what_a_dead_synchronous_view_has_left_is_taken_over(self, store: Any, asked: Any) -> None:
        """Its effects were rolled back."""
        claimed(store, asked)
        IdempotencyRecord.objects.update(lease_until=None, token=0)
        assert code(claim(store, asked)) == "in-flight"
        IdempotencyRecord.objects.update(claimed_at=F("claimed_at") - HOUR)
        assert claimed(store, asked).attempt == 2

    def test_a_running_one_is_in_flight_however_old(self, store: Any, asked: Any) -> None:
        stage, backend = Stage(), DatabaseBackend(get_policy())
        with running(lambda: run(backend, asked, Work(stage.enter)), stage):
            if connection.vendor != "sqlite":
                assert code(elsewhere(lambda: claim(store, asked))) == "in-flight"
        assert claim(store, asked) == Replay(ANSWER)


class TestCommit:
    def test_effect_and_answer_commit_together(self, store: Any, asked: Any) -> None:
        assert isinstance(store.commit(claimed(store, asked), pay), Completed)
        assert (state(), Payment.objects.count(), claim(store, asked)) == ("completed", 1, Replay(ANSWER))

    def test_an_error_undoes_the_effect_and_leaves_the_claim(self, store: Any, asked: Any) -> None:
        mine = claimed(store, asked)
        with pytest.raises(ValueError, match="a bug in the function"):
            store.commit(mine, fail)
        assert (state(), Payment.objects.count()) == ("processing", 0)
        assert isinstance(store.commit(mine, pay), Completed)

    def test_what_is_not_kept_is_undone_and_leaves_the_claim(self, store: Any, asked: Any) -> None:
        def refuse(claim: Claim) -> None:
            pay(claim)

        mine = claimed(store, asked)
        assert store.commit(mine, refuse) == Released(mine)
        assert (state(), Payment.objects.count()) == ("processing", 0)

    def test_a_claim_that_was_taken_over_commits_nothing(self, store: Any, vouched: Any) -> None:
        first = claimed(store, vouched)
        pass_by()
        second = claimed(store, vouched)
        assert code(store.commit(first, pay)) == "in-flight"
        assert isinstance(store.commit(second, pay), Completed)
        assert store.commit(first, pay) == Replay(ANSWER)
        assert Payment.objects.count() == 1

    def test_nobody_calls_it_lapsed_while_it_holds_the_record(self, store: Any, asked: Any, vouched: Any) -> None:
        mine, stage = claimed(store, asked), Stage()
        pass_by()

        def slowly(claim: Claim) -> Snapshot:
            RUNNING.discard(claim.number)  # as another process sees it
            stage.enter()
            return pay(claim)

        with running(lambda: store.commit(mine, slowly), stage) as committed:
            for one in (asked, vouched):
                if connection.vendor == "sqlite":
                    break
                assert code(claim(store, one)) == "in-flight"
            assert state() == "processing"
        assert isinstance(committed.result(), Completed)

    def test_a_hook_that_fails_after_the_commit_changes_nothing(self, store: Any, asked: Any) -> None:
        def hooked(claim: Claim) -> Snapshot:
            transaction.on_commit(lambda: fail(claim))
            return pay(claim)

        assert isinstance(store.commit(claimed(store, asked), hooked), Completed)
        assert claim(store, asked) == Replay(ANSWER)

    @pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
    def test_a_broken_transaction_is_left_to_a_person(
        self, store: Any, asked: Any, vouched: Any, statement: str
    ) -> None:
        def breaks(claim: Claim) -> Snapshot:
            with connection.cursor() as cursor:
                cursor.execute(statement)
            return pay(claim)

        mine = claimed(store, asked)
        with pytest.raises(TransactionBroken):
            store.commit(mine, breaks)
        assert state() == "unknown"
        assert [code(claim(store, one)) for one in (asked, vouched)] == ["outcome-unknown"] * 2

    def test_a_swallowed_error_of_the_database_is_not_committed(self, store: Any, asked: Any) -> None:
        def swallow(claim: Claim) -> Snapshot:
            first = Payment.objects.create(key="k", nonce="")
            try:
                Payment.objects.create(pk=first.pk, nonce="")
            except IntegrityError:
                transaction.set_rollback(True)
            return ANSWER

        mine = claimed(store, asked)
        with pytest.raises(TransactionBroken):
            store.commit(mine, swallow)
        assert (state(), Payment.objects.count()) == ("processing", 0)


def test_of_eight_parallel_claims_one_is_made(asked: Any) -> None:
    start, found = threading.Barrier(8), []

    def attempt() -> None:
        start.wait(5)
        found.append(code(claim(DatabaseBackend(get_policy()).leases(), asked)))

    threads = [threading.Thread(target=lambda: closing(attempt)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["Claim", *["in-flight"] * 7]
