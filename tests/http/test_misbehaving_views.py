"""Views that break their transaction: effect and answer, or neither, or `unknown`; never two effects."""

import pytest

from tests.bank.scripts import MISDEEDS
from tests.support.barriers import Barriers
from tests.support.kinds import BOTH, both
from tests.support.live import Live

PATHS = [*BOTH, *both("joined"), "/plain/outer"]
# What the view's author should read in the log.
CAUSES = {
    "swallowed integrity error": "IntegrityError",
    "closed connection": "closed the database connection",
    "durable": "durable=True",
    "raw commit": "COMMIT",
    "raw rollback": "ROLLBACK",
}


@pytest.mark.parametrize("then", MISDEEDS)
@pytest.mark.parametrize("path", PATHS)
def test_a_misdeed_is_never_paid_twice_and_never_without_an_answer(live: Live, path: str, key: str, then: str) -> None:
    first, *later = (live.client.post(path, {"amount": 5, "then": then}, key=key) for _ in range(3))
    effects, state = live.database.effects(key), live.database.state(key)
    if state == "completed":
        assert effects == 1
        assert [answer.json()["nonce"] for answer in later] == live.database.nonces(key) * 2
    else:
        assert first.status_code >= 400
        if state is None:
            assert effects == 0
        else:
            assert {answer.json()["code"] for answer in later} == {"outcome-unknown"}
            assert (live.runs(key), state) == (1, "unknown")


@pytest.mark.parametrize("path", [*BOTH, *both("joined")])
def test_a_raising_hook_comes_after_the_commit_and_changes_nothing(live: Live, path: str, key: str) -> None:
    first, again = (live.client.post(path, {"amount": 5, "then": "bad hook"}, key=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert live.database.effects(key) == 1


@pytest.mark.parametrize("then", ["raw commit", "raw rollback"])
@pytest.mark.parametrize("path", [*BOTH, *both("joined")])
def test_a_broken_boundary_is_never_answered_with_success(live: Live, path: str, key: str, then: str) -> None:
    assert live.client.post(path, {"amount": 5, "then": then}, key=key).status_code >= 400


@pytest.mark.parametrize("then", CAUSES)
def test_the_log_names_the_cause(served: Live, key: str, then: str) -> None:
    before = len(served.log())
    assert served.client.post("/plain/pay", {"amount": 5, "then": then}, key=key).status_code == 500
    assert CAUSES[then] in served.log()[before:]


@pytest.mark.parametrize("path", [*BOTH, *both("joined")])
def test_after_a_deadlock_each_of_the_two_is_paid_once(served: Live, barriers: Barriers, path: str, key: str) -> None:
    rows = [served.client.post("/plain/bare", {"amount": 1}).json()["payment"] for _ in range(2)]
    keys, gates = [f"{key}-1", f"{key}-2"], [barriers.gate("between"), barriers.gate("between")]
    scripts = [{"amount": 5, "then": "lock rows", "rows": order} for order in (rows, rows[::-1])]
    both_sent = [
        served.client.start(path, script, key=one, at=gate)
        for script, one, gate in zip(scripts, keys, gates, strict=True)
    ]
    for held in [gate.reached() for gate in gates]:
        held.release()
    statuses = sorted(future.result().status_code for future in both_sent)
    assert statuses[0] == 201
    # The database chose one to die; that one tells its client to come again, or failed like any bug.
    assert statuses[1] in {409, 500}
    for script, one in zip(scripts, keys, strict=True):
        assert served.client.insist(path, script, key=one).status_code == 201
        assert served.database.effects(one) == 1
