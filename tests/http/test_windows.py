"""A duplicate in every window of the protocol, with the first request held there by a barrier."""

import statistics
import time
from datetime import timedelta
from typing import cast

import pytest

from tests.support.barriers import Barriers
from tests.support.databases import RECORD, PostgresDatabase
from tests.support.kinds import BOTH, both
from tests.support.live import Live
from tests.support.problems import problem

COMMITTED = ["after-claim", "before-lock", "after-lock", "view", "before-complete", "after-complete", "before-commit"]
JOINED = ["after-claim", "view", "before-complete", "after-complete", "before-commit"]
# The two halves of the lock's number.
ADVISORY = "SELECT classid::bigint, objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND pid = ?"


def windows(paths: list[str], points: list[str]) -> list[tuple[str, str]]:
    """Return each path with each of its windows."""
    return [(path, point) for path in paths for point in points]


def duplicate_in(live: Live, barriers: Barriers, key: str, window: tuple[str, str]) -> None:
    path, point = window
    gate = barriers.gate(point)
    first = live.client.start(path, key=key, at=gate)
    held = gate.reached()
    during = live.client.post(path, key=key)
    held.release()
    problem(during, 409, "in-flight", retryable=True)
    assert first.result().status_code == 201
    after = live.client.post(path, key=key)
    assert after.content == first.result().content
    assert (live.runs(key), live.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("window", windows(both("pay"), COMMITTED), ids="@".join)
def test_a_duplicate_of_a_committed_claim_is_in_flight(
    served: Live, barriers: Barriers, key: str, window: tuple[str, str]
) -> None:
    duplicate_in(served, barriers, key, window)


@pytest.mark.parametrize("window", windows([*both("joined"), "/plain/outer"], JOINED), ids="@".join)
def test_a_duplicate_of_a_joined_claim_is_in_flight(
    served: Live, barriers: Barriers, key: str, window: tuple[str, str]
) -> None:
    duplicate_in(served, barriers, key, window)


@pytest.mark.parametrize("window", windows(both("pay"), JOINED), ids="@".join)
def test_a_duplicate_on_sqlite_is_in_flight(
    sqlite: Live, barriers: Barriers, key: str, window: tuple[str, str]
) -> None:
    duplicate_in(sqlite, barriers, key, window)


@pytest.mark.parametrize("path", both("pay"))
def test_before_the_claim_nothing_tells_the_two_apart(live: Live, barriers: Barriers, path: str, key: str) -> None:
    gate = barriers.gate("before-claim")
    slow = live.client.start(path, key=key, at=gate)
    held = gate.reached()
    fast = live.client.post(path, key=key)
    held.release()
    assert slow.result().content == fast.content
    assert "Idempotent-Replayed" in slow.result().headers
    assert (live.runs(key), live.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("path", both("pay"))
def test_after_the_commit_a_duplicate_gets_the_answer(live: Live, barriers: Barriers, path: str, key: str) -> None:
    gate = barriers.gate("after-commit")
    first = live.client.start(path, key=key, at=gate)
    held = gate.reached()
    during = live.client.post(path, key=key)
    held.release()
    assert "Idempotent-Replayed" in during.headers
    assert first.result().content == during.content


@pytest.mark.parametrize("point", ["before-rollback", "after-rollback", "before-release"])
@pytest.mark.parametrize("path", BOTH)
def test_until_the_release_a_duplicate_is_in_flight(
    served: Live, barriers: Barriers, path: str, key: str, point: str
) -> None:
    gate = barriers.gate(point)
    failing = served.client.start(path, {"amount": 5, "then": "raise"}, key=key, at=gate)
    held = gate.reached()
    problem(served.client.post(path, {"amount": 5, "then": "raise"}, key=key), 409, "in-flight", retryable=True)
    held.release()
    assert failing.result().status_code == 500
    assert served.client.post(path, key=key).status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_an_owner_that_dawdles_before_its_lock_is_overtaken_and_becomes_a_duplicate(
    served: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate = barriers.gate("before-lock")
    dawdling = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    served.database.age(key, timedelta(seconds=2))
    overtaking = served.client.post(path, key=key)
    held.release()
    assert overtaking.status_code == 201
    assert dawdling.result().content == overtaking.content
    assert (served.runs(key), served.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("path", BOTH)
def test_a_living_owner_is_never_overtaken_however_old_its_claim(
    served: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate = barriers.gate("before-lock", "view")
    first = served.client.start(path, key=key, at=gate)
    dawdling = gate.reached()
    served.database.age(key, timedelta(hours=1))
    dawdling.release()
    held = gate.reached()
    duplicate = served.client.post(path, key=key)
    held.release()
    problem(duplicate, 409, "in-flight", retryable=True)
    assert first.result().status_code == 201
    assert (served.runs(key), served.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("path", BOTH)
def test_a_duplicate_during_a_takeovers_long_view_answers_at_once(
    served: Live, barriers: Barriers, path: str, key: str
) -> None:
    dying_gate, taking_gate = barriers.gate("view"), barriers.gate("view")
    dying = served.client.start(path, key=key, at=dying_gate)
    dying_gate.reached().kill()
    assert dying.exception()
    served.database.age(key, timedelta(seconds=2))
    taking = served.client.start(path, key=key, at=taking_gate)
    held = taking_gate.reached()
    times = [timed_duplicate(served, path, key) for _ in range(5)]
    held.release()
    assert statistics.median(times) < 0.2
    assert taking.result().status_code == 201
    assert served.database.effects(key) == 1


@pytest.mark.parametrize("path", BOTH)
def test_an_owner_waits_for_whoever_is_looking_at_its_row(
    served: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate = barriers.gate("before-lock")
    owner = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    ((record_id,),) = served.database.query(f"SELECT id FROM {RECORD} WHERE key = ?", key)
    with served.database.session() as prober:
        prober.execute(f"SELECT 1 FROM {RECORD} WHERE id = %s FOR UPDATE", [record_id])
        held.release()
        served.database.wait_until_blocked(held.backend)
    assert owner.result().status_code == 201


@pytest.mark.parametrize("path", BOTH)
def test_an_owner_tries_again_for_the_lock_that_a_probers_claim_takes(
    postgres: Live, barriers: Barriers, path: str, key: str
) -> None:
    failing_gate, gate = barriers.gate("view"), barriers.gate("before-lock", "after-lock")
    failing = postgres.client.start(path, {"amount": 5, "then": "raise"}, key=key, at=failing_gate)
    held = failing_gate.reached()
    ((high, low),) = postgres.database.query(ADVISORY, held.backend)
    held.release()
    assert failing.result().status_code == 500

    owner = postgres.client.start(path, key=key, at=gate)
    held = gate.reached()
    with cast(PostgresDatabase, postgres.database).session() as prober:
        prober.execute("SELECT pg_advisory_xact_lock(%s::bigint << 32 | %s)", [high, low])
        held.release()
        refused_once = gate.reached()
    refused_once.release()
    assert owner.result().status_code == 201


def timed_duplicate(live: Live, path: str, key: str) -> float:
    """Return how many seconds a duplicate waited for its 409."""
    start = time.monotonic()
    problem(live.client.post(path, key=key), 409, "in-flight", retryable=True)
    return time.monotonic() - start
