"""SIGKILL of a worker before and after each statement of the claim, in the task, and between the commit and the ack."""

import pytest

from tests.celery.workers import Worker, Workers, alone
from tests.support import services
from tests.support.barriers import Barriers

pytestmark = pytest.mark.slow

POINTS = [f"{side}-{statement}" for statement in ("claim", "complete", "commit") for side in ("before", "after")]


@pytest.mark.parametrize("point", [*POINTS, "view"])
def test_a_killed_process_s_task_takes_effect_once(worker: Worker, barriers: Barriers, key: str, point: str) -> None:
    gate = barriers.gate(point)
    sent = worker.send("pay", key, at=gate)
    gate.reached().kill()
    outcome = worker.result(sent)
    assert worker.database.nonces(key) == [outcome["nonce"]]
    # After the commit there is nothing left to run; before it there is nothing left of the first run.
    assert worker.runs(key) == (1 if point in ("before-claim", "after-claim", "after-commit") else 2)


def test_the_same_kill_pays_twice_without_the_decorator(worker: Worker, barriers: Barriers, key: str) -> None:
    gate = barriers.gate("view")
    sent = worker.send("pay_unprotected", key, at=gate)
    gate.reached().kill()
    worker.result(sent)
    assert worker.database.effects(key) == 2


@pytest.mark.parametrize(
    "point", [f"{side}-{moment}" for moment in ("claim", "commit") for side in ("before", "after")]
)
def test_a_killed_process_s_task_takes_effect_once_on_each_database(
    any_worker: Worker, barriers: Barriers, key: str, point: str
) -> None:
    gate = barriers.gate(point)
    sent = any_worker.send("pay", key, at=gate)
    gate.reached().kill()
    outcome = any_worker.result(sent)
    assert any_worker.database.nonces(key) == [outcome["nonce"]]


@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
def test_a_killed_worker_s_task_takes_effect_once(
    workers: Workers, broker: str, barriers: Barriers, key: str, point: str
) -> None:
    """Nobody is left to give the task back: the broker has to notice."""
    services.skip_unless_chosen("postgresql")
    with workers.own("postgresql", broker, visibility=1) as worker:
        worker.start(*alone())
        gate = barriers.gate(point)
        sent = worker.send("pay", key, at=gate)
        gate.reached().kill()
        worker.start(*alone())
        outcome = worker.result(sent)
        assert worker.database.nonces(key) == [outcome["nonce"]]
        assert worker.runs(key) == (1 if point == "after-commit" else 2)
