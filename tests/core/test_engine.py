"""What a stored record means for a request, and what the engine makes of what a store says."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from django_idempotency.core import engine
from django_idempotency.core.engine import (
    Again,
    Claim,
    Completed,
    Idempotency,
    Refused,
    Replay,
    Snapshot,
    StoredRecord,
    claim_number,
    judge,
    run,
)
from django_idempotency.core.fingerprints import fingerprint
from django_idempotency.core.keys import derive
from django_idempotency.core.states import State
from django_idempotency.exceptions import InFlight, StoreUnavailable
from tests.support.contenders import code, operation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)
ANSWER = Snapshot(201, (), b"paid")
ASKED = operation("abc")
OTHER = fingerprint("secret", [b"amount=6"])
FOREIGN = b"\x02" + ASKED.fingerprints[0][1:]


def record(state=State.PROCESSING, **changes):
    found = StoredRecord(
        state=state, claim=7, token=0, fingerprint=ASKED.fingerprints[0], now=NOW, claimed_at=NOW - 2 * HOUR
    )
    return replace(found, **changes)


def completed(**changes):
    times = {"expires_at": NOW + HOUR, "forget_at": NOW + 2 * HOUR}
    return record(State.COMPLETED, token=1, snapshot=ANSWER, **{**times, **changes})


def verdict(found, **choices):
    return code(judge(ASKED, found, **choices))


class TestJudge:
    def test_a_completed_record_is_replayed(self):
        assert judge(ASKED, completed()) == Replay(ANSWER)

    def test_it_is_expired_by_time_from_the_very_moment(self):
        assert judge(ASKED, completed(expires_at=NOW + MOMENT)) == Replay(ANSWER)
        assert verdict(completed(expires_at=NOW)) == "key-expired"

    def test_a_tombstone_is_expired_whatever_its_times(self):
        assert verdict(record(State.TOMBSTONE, forget_at=NOW + MOMENT)) == "key-expired"

    @pytest.mark.parametrize("state", [State.COMPLETED, State.TOMBSTONE])
    def test_a_key_is_free_from_the_moment_its_tombstone_ends(self, state):
        assert judge(ASKED, record(state, expires_at=NOW - HOUR, forget_at=NOW)) is Again.FORGOTTEN

    def test_an_abandoned_claim_is_taken_over_with_its_number_from_one_second_on(self):
        abandoned = record(claimed_at=NOW - timedelta(seconds=1))
        assert judge(ASKED, abandoned) == Claim(operation=ASKED, number=7, attempt=2, seen=abandoned)
        assert verdict(record(claimed_at=NOW - timedelta(seconds=1) + MOMENT)) == "in-flight"

    def test_a_claim_of_this_process_is_in_flight_however_old(self):
        assert verdict(record(), running_here=True) == "in-flight"

    def test_a_started_record_that_can_be_seen_is_of_unknown_outcome(self):
        refused = judge(ASKED, record(token=1))
        assert code(refused) == "outcome-unknown"
        assert refused.error.operation == ASKED.id

    def test_an_unknown_record_is_of_unknown_outcome(self):
        assert verdict(record(State.UNKNOWN)) == "outcome-unknown"


class TestPrecedence:
    def test_expired_comes_before_mismatched(self):
        assert verdict(completed(expires_at=NOW, fingerprint=OTHER)) == "key-expired"
        assert verdict(record(State.TOMBSTONE, fingerprint=OTHER)) == "key-expired"

    @pytest.mark.parametrize(
        "found",
        [completed(), record(), record(claimed_at=NOW), record(token=1), record(State.UNKNOWN)],
        ids=["completed", "abandoned", "young", "started", "unknown"],
    )
    def test_mismatched_comes_before_everything_else(self, found):
        assert verdict(replace(found, fingerprint=OTHER)) == "key-reused"
        assert verdict(replace(found, fingerprint=OTHER), running_here=True) == "key-reused"

    @pytest.mark.parametrize("found", [completed(), record(), record(State.UNKNOWN)])
    def test_what_another_release_made_is_neither_replayed_nor_called_a_mismatch(self, found):
        assert verdict(replace(found, fingerprint=FOREIGN)) == "in-flight"

    def test_an_earlier_secrets_fingerprint_matches(self):
        rotated = replace(ASKED, fingerprints=(OTHER, *ASKED.fingerprints))
        assert judge(rotated, completed()) == Replay(ANSWER)


class Script:
    """A store that says one thing after another, the last for ever."""

    def __init__(self, *says):
        self.says = list(says)
        self.asked = 0

    def attempt(self, operation, work):
        self.asked += 1
        saying = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(saying, Exception):
            raise saying
        return saying


DONE = Completed(Claim(operation=ASKED, number=1))
RUNNING = Refused(InFlight())


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only by sleeping; a list of how long each sleep was."""
    slept = []
    monkeypatch.setattr(engine.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(engine.time, "sleep", slept.append)
    return slept


class TestRun:
    @pytest.mark.parametrize("again", list(Again))
    def test_an_unclear_store_is_asked_three_times_and_never_means_free(self, again):
        store = Script(again)
        assert code(run(store, ASKED, None)) == "in-flight"
        assert store.asked == 3

    def test_the_third_answer_counts(self):
        assert run(Script(Again.UNCLEAR, Again.FORGOTTEN, DONE), ASKED, None) is DONE

    def test_a_store_that_cannot_be_reached_is_a_refusal(self):
        assert code(run(Script(StoreUnavailable()), ASKED, None, wait=9)) == "store-unavailable"

    def test_an_exception_of_the_work_comes_out_unchanged(self):
        with pytest.raises(ZeroDivisionError):
            run(Script(ZeroDivisionError()), ASKED, None)

    def test_without_wait_a_duplicate_hears_at_once(self, clock):
        assert run(Script(RUNNING), ASKED, None) is RUNNING
        assert clock == []

    def test_a_waiting_duplicate_gets_the_answer_as_soon_as_it_is_there(self, clock):
        assert run(Script(RUNNING, RUNNING, Replay(ANSWER)), ASKED, None, wait=10) == Replay(ANSWER)
        assert len(clock) == 2

    def test_it_never_waits_longer_than_it_may(self, clock):
        assert run(Script(RUNNING), ASKED, None, wait=2) is RUNNING
        assert 1.7 < sum(clock) <= 2

    def test_it_asks_ever_less_often_but_four_times_a_second(self, clock):
        run(Script(RUNNING), ASKED, None, wait=5)
        assert clock == sorted(clock)
        assert clock[-1] == 0.25

    def test_only_what_is_in_flight_is_waited_for(self, clock):
        unknown = judge(ASKED, record(State.UNKNOWN))
        assert run(Script(unknown), ASKED, None, wait=10) is unknown
        assert clock == []


class TestValues:
    def test_a_claims_number_fits_a_signed_64_bit_column_and_is_new_every_time(self):
        numbers = {claim_number() for _ in range(500)}
        assert len(numbers) == 500
        assert all(0 <= number < 2**63 for number in numbers)

    def test_the_views_derive_is_that_of_the_record(self):
        found = Idempotency(key="abc", id=ASKED.id, attempt=1, seed=ASKED.id)
        assert found.derive("charge") == derive(ASKED.id, "charge")
        assert re.fullmatch(r"[0-9a-f-]{36}", found.derive("charge"))
