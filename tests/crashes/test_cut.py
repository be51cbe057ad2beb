"""The connection is cut, or the network loses COMMIT or its answer, and the worker lives on."""

import pytest

from tests.crashes.expectations import paid_once
from tests.support.barriers import Barriers
from tests.support.fixtures import BehindProxy
from tests.support.kinds import both, drf
from tests.support.live import Live
from tests.support.problems import problem

COMMITTED = ["before-claim", "before-lock", "after-lock", "view", "before-complete", "after-complete", "before-commit"]
JOINED = ["after-claim", "view", "before-complete", "after-complete", "before-commit"]
MOMENTS = [
    *(("/plain/pay", point) for point in COMMITTED),
    *(("/plain/joined", point) for point in JOINED),
    *((path, point) for path in [*drf("pay"), *drf("joined")] for point in ("view", "before-commit")),
]


@pytest.mark.parametrize("moment", MOMENTS, ids="@".join)
def test_a_cut_connection_pays_nothing_and_the_retry_pays_once(
    served: Live, barriers: Barriers, key: str, moment: tuple[str, str]
) -> None:
    path, point = moment
    gate = barriers.gate(point)
    cut = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    served.database.terminate(held.backend)
    held.release()
    # In the view it is the view's own statement that fails, or ours right after it: an error, and never a success.
    assert cut.result().status_code in {409, 500, 503}
    assert served.database.effects(key) == 0
    paid_once(served, path, key)


@pytest.mark.parametrize("path", both("pay"))
def test_a_connection_cut_before_our_own_statement_is_503(
    served: Live, barriers: Barriers, path: str, key: str
) -> None:
    gate = barriers.gate("before-claim")
    cut = served.client.start(path, key=key, at=gate)
    held = gate.reached()
    served.database.terminate(held.backend)
    held.release()
    problem(cut.result(), 503, "store-unavailable", retryable=True)
    assert served.runs(key) == 0


@pytest.mark.parametrize("path", [*both("pay"), *both("joined")])
def test_a_commit_that_never_arrived_pays_nothing(behind_proxy: BehindProxy, path: str, key: str) -> None:
    live = behind_proxy.live
    behind_proxy.proxy.lose("commit")
    answer = live.client.post(path, key=key)
    assert answer.status_code in {409, 503}
    assert answer.json()["retryable"] is True
    assert live.database.effects(key) == 0
    paid_once(live, path, key)


@pytest.mark.parametrize("path", [*both("pay"), *both("joined")])
def test_a_commit_whose_answer_was_lost_is_answered_with_what_it_kept(
    behind_proxy: BehindProxy, path: str, key: str
) -> None:
    live = behind_proxy.live
    behind_proxy.proxy.lose("answer")
    answer = live.client.post(path, key=key)
    assert answer.status_code == 201
    assert live.database.nonces(key) == [answer.json()["nonce"]]
    paid_once(live, path, key)
    assert live.runs(key) == 1


@pytest.mark.parametrize("path", [*both("pay"), *both("joined")])
def test_when_nobody_can_tell_what_became_of_the_commit_the_client_is_told_to_come_again(
    behind_proxy: BehindProxy, path: str, key: str
) -> None:
    live = behind_proxy.live
    behind_proxy.proxy.lose("answer and the database")
    answer = live.client.post(path, key=key)
    problem(answer, 503, "store-unavailable", retryable=True)
    behind_proxy.proxy.recover()
    paid_once(live, path, key)
    assert live.runs(key) == 1
