"""Many at once: of equal requests one runs, and different ones do not hinder each other."""

import uuid
from collections import Counter
from concurrent.futures import Future

import pytest
from httpx import Response

from tests.support.kinds import both
from tests.support.live import Live

CROWD = 50
PATHS = [*both("pay"), *both("joined")]


@pytest.mark.parametrize("path", PATHS)
def test_of_parallel_duplicates_one_runs_and_gets_the_answer(crowded: Live, path: str, key: str) -> None:
    answers = [future.result() for future in [crowded.client.start(path, key=key) for _ in range(CROWD)]]
    assert {answer.status_code for answer in answers} <= {201, 409}
    firsts = [answer for answer in answers if answer.status_code == 201 and not replayed(answer)]
    assert len(firsts) == 1
    assert {answer.content for answer in answers if answer.status_code == 201} == {firsts[0].content}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 409)
    assert (crowded.runs(key), crowded.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("path", PATHS)
def test_every_one_of_many_duplicates_gets_the_answer_in_the_end(crowded: Live, path: str, key: str) -> None:
    futures = [crowded.client.pool.submit(crowded.client.insist, path, key=key, within=15) for _ in range(CROWD)]
    answers = [future.result() for future in futures]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert sum(not replayed(answer) for answer in answers) == 1
    assert crowded.database.effects(key) == 1


@pytest.mark.parametrize("path", PATHS)
def test_parallel_first_requests_do_not_hinder_each_other(crowded: Live, path: str) -> None:
    keys = [str(uuid.uuid4()) for _ in range(CROWD)]
    answers = [future.result() for future in [crowded.client.start(path, key=key) for key in keys]]
    assert Counter(answer.status_code for answer in answers) == {201: CROWD}
    assert [crowded.database.effects(key) for key in keys] == [1] * CROWD


@pytest.mark.parametrize("path", PATHS)
def test_no_owner_is_starved_by_its_probing_duplicates(crowded: Live, path: str) -> None:
    keys = [str(uuid.uuid4()) for _ in range(20)]
    asked: list[tuple[str, Future[Response]]] = [
        (key, crowded.client.start(path, key=key)) for key in keys for _ in range(4)
    ]
    first = Counter(key for key, future in asked if ran(future.result()))
    assert first == dict.fromkeys(keys, 1)


def replayed(answer: Response) -> bool:
    """Whether this is the answer of an earlier request."""
    return "Idempotent-Replayed" in answer.headers


def ran(answer: Response) -> bool:
    """Whether this very request was executed."""
    assert answer.status_code in {201, 409}, answer.text
    return answer.status_code == 201 and not replayed(answer)
