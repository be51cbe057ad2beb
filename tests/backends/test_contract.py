"""What every backend owes its callers, in every claim mode. Where two may differ, their capabilities say how."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_idempotency.backends import MemoryBackend
from django_idempotency.core.engine import Claim, Completed, Refused, Released, Replay, StoredRecord, judge
from django_idempotency.core.states import State
from django_idempotency.exceptions import TransactionBroken
from django_idempotency.maintenance import Purged, Recovered, purge, recover
from tests.support.contenders import (
    ANSWER,
    CONTENDERS,
    DATABASES,
    RETENTION,
    TOMBSTONE,
    Contender,
    Work,
    code,
    operation,
)
from tests.support.redis_contender import REDIS
from tests.support.threads import PATIENCE, Stage, before, closing, elsewhere, running

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture(params=[*CONTENDERS, REDIS], ids=lambda contender: contender.name)
def store(request: pytest.FixtureRequest, settings: Any) -> Contender:
    request.param.ready(settings)
    return request.param


@pytest.fixture(params=DATABASES, ids=lambda contender: contender.name)
def stored(request: pytest.FixtureRequest) -> Contender:
    """A store that upkeep can reach."""
    return request.param


def fail() -> None:
    raise RuntimeError("a bug in the view")


class TestRunsOnce:
    def test_the_work_runs_and_its_answer_is_replayed(self, store):
        asked, work = operation(), Work()
        assert code(store.run(asked, work)) == "Completed"
        assert store.run(asked, work) == Replay(ANSWER)
        assert work.runs == 1

    def test_of_eight_parallel_attempts_one_runs_and_the_others_hear_of_it_without_waiting(self, store):
        """The work ends only when the seven others have their answers."""
        asked, start, others = operation(), threading.Barrier(8), threading.Semaphore(0)
        work = Work(lambda: [others.acquire(timeout=PATIENCE) or fail() for _ in range(7)])

        def attempt():
            start.wait(PATIENCE)
            outcome = store.run(asked, work)
            others.release()
            return code(outcome)

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda _: closing(attempt), range(8)))
        assert sorted(outcomes) == ["Completed", *["in-flight"] * 7]
        assert work.runs == 1
        assert store.run(asked, work) == Replay(ANSWER)

    def test_another_key_is_not_kept_waiting(self, store):
        """Except on SQLite, which has one writer: the second is told to come again."""
        stage = Stage()
        with running(lambda: store.run(operation(), Work(stage.enter)), stage) as first:
            assert code(store.run(operation(), Work())) == ("Completed" if store.parallel else "in-flight")
        assert code(first.result()) == "Completed"

    def test_the_same_key_in_another_scope_is_another_operation(self, store):
        mine, yours = operation("k"), operation("k", scope="user:2", body=b"amount=6")
        assert [code(store.run(asked, Work())) for asked in (mine, yours)] == ["Completed", "Completed"]

    def test_a_waiting_duplicate_gets_the_answer_of_the_first(self, store):
        asked, stage, waiting = operation(), Stage(), threading.Event()

        def wait():
            waiting.set()
            return store.run(asked, Work(fail), wait=PATIENCE)

        with ThreadPoolExecutor(1) as pool, running(lambda: store.run(asked, Work(stage.enter)), stage):
            duplicate = pool.submit(closing, wait)
            assert waiting.wait(PATIENCE)
        assert duplicate.result() == Replay(ANSWER)

    def test_work_that_asks_for_its_own_key_finds_it_in_flight(self, store):
        asked, inner, outcomes = operation(), Work(), []
        work = Work(lambda: outcomes.append(code(store.run(asked, inner))))
        assert code(store.run(asked, work)) == "Completed"
        assert (outcomes, inner.runs) == (["in-flight"], 0)

    def test_a_second_attempt_in_one_transaction_gets_the_answer_of_the_first(self, stored):
        asked, work = operation(), Work()
        with transaction.atomic():
            assert code(stored.run(asked, work)) == "Completed"
            assert stored.run(asked, work) == Replay(ANSWER)
        assert stored.run(asked, work) == Replay(ANSWER)
        assert work.runs == 1


class TestRelease:
    def test_what_is_not_kept_frees_the_key(self, store):
        asked = operation()
        assert code(store.run(asked, Work(answer=None))) == "Released"
        assert store.state(asked) is None
        assert code(store.run(asked, Work())) == "Completed"

    def test_an_exception_frees_the_key_and_comes_out_unchanged(self, store):
        """Where what the work has done stays done, nobody knows what that is."""
        asked = operation()
        with pytest.raises(RuntimeError, match="a bug in the view"):
            store.run(asked, Work(fail))
        assert store.state(asked) == (None if store.undoes else "unknown")
        assert code(store.run(asked, Work())) == ("Completed" if store.undoes else "outcome-unknown")

    def test_a_freed_key_takes_another_request(self, store):
        assert isinstance(store.run(operation("k"), Work(answer=None)), Released)
        assert isinstance(store.run(operation("k", body=b"amount=6"), Work()), Completed)


class TestMismatch:
    def test_another_request_under_the_key_is_refused_and_the_first_still_replays(self, store):
        asked, work = operation("k"), Work()
        store.run(asked, work)
        assert code(store.run(operation("k", body=b"amount=6"), work)) == "key-reused"
        assert store.run(asked, work) == Replay(ANSWER)
        assert work.runs == 1

    def test_it_comes_before_in_flight_where_a_claim_can_be_seen(self, store):
        stage = Stage()
        with running(lambda: store.run(operation("k"), Work(stage.enter)), stage):
            outcome = store.run(operation("k", body=b"amount=6"), Work(fail))
        assert code(outcome) == ("key-reused" if store.visible else "in-flight")

    def test_an_abandoned_claim_is_taken_over_by_its_own_request_only(self, store):
        store.plant(operation("k"))
        assert code(store.run(operation("k", body=b"amount=6"), Work(fail))) == "key-reused"

    def test_a_fingerprint_of_another_release_is_never_judged(self, store):
        asked = operation()
        store.plant(asked)
        store.change(asked, fingerprint=b"\x02" + asked.fingerprints[0][1:])
        assert code(store.run(asked, Work(fail))) == "in-flight"


class TestTakeover:
    def test_an_abandoned_claim_is_run_again_with_a_raised_token(self, store):
        """Where a claim cannot outlive its owner, it is never taken over."""
        asked, work = operation(), Work()
        store.plant(asked)
        assert code(store.run(asked, work)) == ("Completed" if store.takes_over else "in-flight")
        assert [claim.attempt for claim in work.claims] == ([2] if store.takes_over else [])

    @pytest.mark.parametrize("answer", [None, "raise"])
    def test_a_takeover_that_comes_to_nothing_frees_the_key(self, store, answer):
        asked = operation()
        store.plant(asked)
        try:
            store.run(asked, Work(fail if answer else None, answer=None))
        except RuntimeError:
            assert store.takes_over
        assert store.state(asked) == (None if store.takes_over else "processing")

    def test_of_parallel_takeovers_one_runs(self, store):
        asked, stage = operation(), Stage()
        store.plant(asked)
        if not store.takes_over:
            assert code(store.run(asked, Work(fail))) == "in-flight"
            return
        with running(lambda: store.run(asked, Work(stage.enter)), stage) as first:
            assert code(store.run(asked, Work(fail))) == "in-flight"
        assert code(first.result()) == "Completed"

    @pytest.mark.parametrize(("age", "verdict"), [(0.0, "in-flight"), (0.999, "in-flight"), (1.0, "Claim")])
    def test_a_claim_younger_than_a_second_is_in_flight(self, age, verdict):
        asked, record = operation(), self.record(age)
        assert code(judge(asked, record)) == verdict

    def record(self, age):
        now = timezone.now()
        claimed_at = now - timedelta(seconds=age)
        mine = operation().fingerprints[0]
        return StoredRecord(state=State.PROCESSING, claim=1, token=0, fingerprint=mine, now=now, claimed_at=claimed_at)

    def test_a_young_claim_is_not_taken_over(self, store):
        asked = operation()
        # In the future, so that a slow machine does not let it come of age.
        store.plant(asked, claimed_at=-HOUR)
        assert code(store.run(asked, Work(fail))) == "in-flight"
        assert store.state(asked) == "processing"


class TestFencing:
    def test_who_was_overtaken_completes_nothing_and_gives_no_answer(self, store):
        asked = operation()
        work = Work(lambda: store.change(asked, claim=77))
        try:
            outcome = store.run(asked, work)
        except TransactionBroken:
            outcome = Refused(TransactionBroken())
        assert code(outcome) in {"in-flight", "transaction-broken"}
        assert store.state(asked) != "completed"

    def test_who_was_overtaken_releases_nothing(self):
        MemoryBackend.clear()
        store, asked = CONTENDERS[0], operation()
        assert isinstance(store.run(asked, Work(lambda: store.change(asked, claim=77), answer=None)), Released)
        assert store.state(asked) == "processing"

    def test_a_completed_record_is_not_completed_again(self):
        MemoryBackend.clear()
        backend, asked = MemoryBackend(CONTENDERS[0].policy), operation()
        claim = backend.claim(asked)
        assert isinstance(claim, Claim)
        assert [backend.complete(claim, ANSWER) for _ in range(2)] == [True, False]
        assert backend.release(claim) is False

    @pytest.mark.parametrize("record", [{"state": "unknown"}, {"state": "processing", "token": 1}])
    def test_what_may_have_taken_effect_is_never_run(self, store, record):
        asked = operation()
        store.plant(asked, **record)
        assert code(store.run(asked, Work(fail))) == "outcome-unknown"
        assert store.state(asked) == ("unknown" if store.lapses else record["state"])


class TestExpiry:
    def test_an_expired_answer_is_neither_given_nor_made_anew(self, store):
        """By time, whether or not purge has been there."""
        asked = operation()
        store.run(asked, Work())
        store.age(asked, RETENTION + HOUR)
        assert code(store.run(asked, Work(fail))) == "key-expired"
        assert code(store.run(operation(asked.key, body=b"amount=6"), Work(fail))) == "key-expired"

    def test_an_answer_is_given_until_it_expires(self, store):
        asked = operation()
        store.run(asked, Work())
        store.age(asked, RETENTION - HOUR)
        assert store.run(asked, Work(fail)) == Replay(ANSWER)

    def test_a_tombstone_refuses_even_without_a_time(self, store):
        asked = operation()
        store.plant(asked, "tombstone", forget_at=-HOUR)
        assert code(store.run(asked, Work(fail))) == "key-expired"

    @pytest.mark.parametrize("state", ["completed", "tombstone"])
    def test_the_key_is_free_when_its_tombstone_ends(self, store, state):
        asked, work = operation(), Work()
        store.run(asked, Work())
        store.age(asked, RETENTION + TOMBSTONE + HOUR)
        store.change(asked, state=State(state))
        assert code(store.run(asked, work)) == "Completed"
        assert work.runs == 1

    def test_a_tombstone_lasts_until_its_end(self, store):
        asked = operation()
        store.run(asked, Work())
        store.age(asked, RETENTION + TOMBSTONE - HOUR)
        assert code(store.run(asked, Work(fail))) == "key-expired"


class TestUpkeep:
    def test_a_purged_answer_leaves_a_tombstone(self, stored):
        asked = operation()
        stored.run(asked, Work())
        stored.age(asked, RETENTION + HOUR)
        assert purge() == Purged(shrunk=1)
        assert code(stored.run(asked, Work(fail))) == "key-expired"

    def test_a_forgotten_key_claimed_again_is_not_purged(self, stored):
        """chosen by purge -> forgotten and claimed again by a request -> purge acts"""
        asked, work = operation(), Work()
        stored.run(asked, Work())
        stored.age(asked, RETENTION + TOMBSTONE + HOUR)
        reclaim = partial(elsewhere, lambda: stored.run(asked, work))
        # MariaDB locks what it deletes in a statement before; the first one chooses.
        on_mariadb = connection.vendor == "mysql"
        with before("read", lambda: None, reclaim) if on_mariadb else before("release", reclaim):
            assert purge() == Purged()
        assert stored.run(asked, Work(fail)) == Replay(ANSWER)
        assert work.runs == 1

    def test_a_live_claim_is_neither_recovered_nor_purged_however_old_it_is(self, stored):
        asked, stage = operation(), Stage()
        if stored.takes_over:
            stored.plant(asked)
        with running(lambda: stored.run(asked, Work(stage.enter)), stage) as first:
            assert (purge(), recover()) == (Purged(), Recovered())
        assert code(first.result()) == "Completed"

    def test_an_abandoned_claim_is_recovered(self, stored):
        asked = operation()
        stored.plant(asked)
        assert recover() == Recovered(released=1)
        assert code(stored.run(asked, Work())) == "Completed"
