"""SIGKILL before and after each of our own statements and both commits."""

from datetime import timedelta

import pytest

from tests.crashes.expectations import answer_lost, paid_once
from tests.support.barriers import Barriers
from tests.support.kinds import both
from tests.support.live import Live
from tests.support.problems import problem

FAILURE = {"amount": 5, "then": "raise"}

# A claim commits with its statement: after-claim is after the first commit.
COMMITTED = ["claim", "lock", "complete", "commit"]
JOINED = ["claim", "complete", "commit"]
SQLITE = ["read", *JOINED]


def moments(paths: list[str], statements: list[str]) -> list[tuple[str, str]]:
    """Return each path with the moments before and after each statement, and within the view."""
    points = [f"{side}-{statement}" for statement in statements for side in ("before", "after")]
    return [(path, point) for path in paths for point in [*points, "view"]]


def kill_at(live: Live, barriers: Barriers, key: str, moment: tuple[str, str]) -> None:
    path, point = moment
    gate = barriers.gate(point)
    dying = live.client.start(path, key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    survived = live.database.nonces(key)
    assert len(survived) == (point == "after-commit")
    paid_once(live, path, key)
    assert live.database.nonces(key)[: len(survived)] == survived


@pytest.mark.parametrize("moment", moments(both("pay"), COMMITTED), ids="@".join)
def test_a_committed_claim_survives_a_kill(served: Live, barriers: Barriers, key: str, moment: tuple[str, str]) -> None:
    kill_at(served, barriers, key, moment)


@pytest.mark.parametrize("moment", moments([*both("joined"), "/plain/outer"], JOINED), ids="@".join)
def test_a_joined_claim_survives_a_kill(served: Live, barriers: Barriers, key: str, moment: tuple[str, str]) -> None:
    kill_at(served, barriers, key, moment)


@pytest.mark.parametrize("moment", moments(both("pay"), SQLITE), ids="@".join)
def test_a_claim_on_sqlite_survives_a_kill(sqlite: Live, barriers: Barriers, key: str, moment: tuple[str, str]) -> None:
    kill_at(sqlite, barriers, key, moment)


@pytest.mark.parametrize(
    "point", [f"{side}-{what}" for what in ("rollback", "release") for side in ("before", "after")]
)
@pytest.mark.parametrize("path", both("pay"))
def test_a_kill_while_a_failed_request_is_undone_leaves_the_key_to_the_retry(
    served: Live, barriers: Barriers, path: str, key: str, point: str
) -> None:
    gate = barriers.gate(point)
    dying = served.client.start(path, FAILURE, key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    assert served.database.effects(key) == 0
    # The failed request was this one, so this one is what its client sends again.
    assert served.client.insist(path, FAILURE, key=key).status_code == 500
    assert (served.database.effects(key), served.database.state(key)) == (0, None)
    paid_once(served, path, key)


@pytest.mark.parametrize("path", both("joined"))
def test_a_kill_before_a_joined_claim_is_undone_leaves_nothing(
    live: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate = barriers.gate("before-rollback")
    dying = live.client.start(path, FAILURE, key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    assert (live.database.effects(key), live.database.state(key)) == (0, None)
    paid_once(live, path, key)


@pytest.mark.parametrize(
    "point", ["before-lock", "after-lock", "view", "before-complete", "before-commit", "after-commit"]
)
@pytest.mark.parametrize("path", both("pay"))
def test_a_second_kill_during_the_takeover_changes_nothing(
    served: Live, barriers: Barriers, path: str, key: str, point: str
) -> None:
    first_gate, second_gate = barriers.gate("view"), barriers.gate(point)
    first = served.client.start(path, key=key, at=first_gate)
    first_gate.reached().kill()
    answer_lost(first)
    second = served.client.pool.submit(served.client.insist, path, key=key, at=second_gate)
    second_gate.reached().kill()
    answer_lost(second)
    survived = served.database.nonces(key)
    assert len(survived) == (point == "after-commit")
    paid_once(served, path, key)
    assert served.database.nonces(key)[: len(survived)] == survived


def test_a_kill_after_the_view_has_committed_on_its_own_is_never_paid_again(
    live: Live, barriers: Barriers, key: str
) -> None:
    gate = barriers.gate("view-done")
    dying = live.client.start("/plain/pay", {"amount": 5, "then": "raw commit"}, key=key, at=gate)
    gate.reached().kill()
    answer_lost(dying)
    live.database.age(key, timedelta(hours=1))
    retry = live.client.post("/plain/pay", {"amount": 5, "then": "raw commit"}, key=key)
    problem(retry, 409, "outcome-unknown", retryable=False)
    assert (live.runs(key), live.database.effects(key)) == (1, 1)
