"""The database cannot be reached: 503, and the view has not run."""

import pytest

from tests.support.fixtures import BehindProxy
from tests.support.kinds import BOTH
from tests.support.problems import problem


@pytest.mark.parametrize("path", BOTH)
def test_an_unreachable_database_is_503_and_the_view_has_not_run(
    behind_proxy: BehindProxy, path: str, key: str
) -> None:
    live = behind_proxy.live
    behind_proxy.proxy.refuse()
    answer = live.client.post(path, key=key)
    problem(answer, 503, "store-unavailable", retryable=True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert live.runs(key) == 0


@pytest.mark.parametrize("path", BOTH)
def test_the_retry_after_the_database_is_back_runs_once(behind_proxy: BehindProxy, path: str, key: str) -> None:
    live = behind_proxy.live
    behind_proxy.proxy.refuse()
    live.client.post(path, key=key)
    behind_proxy.proxy.recover()
    assert live.client.post(path, key=key).status_code == 201
    assert (live.runs(key), live.database.effects(key)) == (1, 1)
