"""
SIGKILL of a worker in the middle of a bulk act: another one goes on, and each row is acted upon once and says so.

Four requests have died. The first was claimed again after it was chosen, so its row is refused; the worker is killed at
the second one:

    worker    refuses the first, locks the second, deletes it, writes the event, commits
                                                 ^ killed here, or there               ^
    another   goes on with the second, or with the third
"""

import pytest

from tests.celery.workers import Worker, Workers, alone
from tests.support import services
from tests.support.barriers import Barriers

pytestmark = pytest.mark.slow

POINTS = ["before-release", "after-release", "before-commit", "after-commit"]
TOLD = {"states": ["refused", "done", "done", "done"], "left": 1, "released": [1, 2, 3], "incidents": 3, "faults": 0}


def carry_out(worker: Worker, bulk_id: int, **options):
    return worker.send_upkeep("carry_out_bulk", bulk_id=bulk_id, database="default", **options)


@pytest.mark.parametrize("point", POINTS)
def test_another_process_goes_on(any_worker: Worker, barriers: Barriers, point: str) -> None:
    bulk_id = any_worker.result(any_worker.send("begin_bulk"))
    gate = barriers.gate(point)
    sent = carry_out(any_worker, bulk_id, at=gate)
    gate.reached().kill()
    assert any_worker.result(sent) is False
    assert any_worker.result(any_worker.send("told_of_bulk", bulk_id)) == TOLD


@pytest.mark.parametrize("point", ["after-release", "after-commit"])
def test_another_worker_goes_on(workers: Workers, broker: str, barriers: Barriers, point: str) -> None:
    """Nobody is left to give the task back: the broker has to notice."""
    services.skip_unless_chosen("postgresql")
    with workers.own("postgresql", broker, visibility=1) as worker:
        worker.start(*alone())
        bulk_id = worker.result(worker.send("begin_bulk"))
        gate = barriers.gate(point)
        sent = carry_out(worker, bulk_id, at=gate)
        gate.reached().kill()
        worker.start(*alone())
        assert worker.result(sent) is False
        assert worker.result(worker.send("told_of_bulk", bulk_id)) == TOLD
