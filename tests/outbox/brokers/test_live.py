"""Across real brokers: the drain killed between sending and marking, and the worker killed in the task, take effect once."""

import time
import uuid

import pytest

from django_idempotency.outbox.drains import HOLD
from tests.celery.workers import PATIENCE, Worker, Workers, alone, processes
from tests.support import services
from tests.support.barriers import Barriers

pytestmark = pytest.mark.slow

MESSAGE = "django_idempotency_idempotencymessage"
IMPORTS = ["tests.celery.shop", "tests.outbox.brokers.shop"]


def ordered(worker: Worker, keys: list[str], at: str = "-") -> list[str]:
    """Order under each key; the ids of the messages."""
    return list(worker.result(worker.app.send_task("outbox.order", (keys, at))))


def wait_for_runs(worker: Worker, number: str, runs: int) -> None:
    """Return once the task of a message has ended as often."""
    deadline = time.monotonic() + PATIENCE
    while worker.log().count(f"Task outbox.receive[{number}] succeeded") < runs:
        assert time.monotonic() < deadline, worker.log()
        time.sleep(0.02)


def pass_the_hold(worker: Worker) -> None:
    """Let the time end for which a batch belongs to whoever has taken it."""
    changed = f"due_at = {worker.database.shifted('due_at', HOLD)}"
    worker.database.query(f"UPDATE {MESSAGE} SET {changed}")


@pytest.mark.parametrize("point", ["before-mark", "after-mark"])
def test_a_drain_that_is_killed_after_sending_pays_once(
    workers: Workers, broker: str, barriers: Barriers, key: str, point: str
) -> None:
    services.skip_unless_chosen("postgresql")
    with workers.own("postgresql", broker, imports=IMPORTS) as worker:
        worker.start(*processes(2))
        (number,) = ordered(worker, [key])
        gate = barriers.gate(point)
        worker.send_upkeep("drain_outbox", at=gate)
        gate.reached().kill()
        wait_for_runs(worker, number, 1)
        assert worker.result(worker.send_upkeep("drain_outbox"))["sent"] == 0
        pass_the_hold(worker)
        again = worker.result(worker.send_upkeep("drain_outbox"))["sent"]
        assert again == (1 if point == "before-mark" else 0)
        wait_for_runs(worker, number, 1 + again)
        assert (worker.runs(key), worker.database.effects(key)) == (1, 1)


@pytest.mark.parametrize("point", ["view", "before-commit", "after-commit"])
def test_a_worker_that_is_killed_in_the_task_of_a_message_pays_once(
    workers: Workers, broker: str, barriers: Barriers, key: str, point: str
) -> None:
    services.skip_unless_chosen("postgresql")
    with workers.own("postgresql", broker, imports=IMPORTS, visibility=1) as worker:
        worker.start(*alone())
        gate = barriers.gate(point)
        (number,) = ordered(worker, [key], gate.header)
        assert worker.result(worker.send_upkeep("drain_outbox"))["sent"] == 1
        gate.reached().kill()
        worker.start(*alone())
        wait_for_runs(worker, number, 1)
        assert (worker.runs(key), worker.database.effects(key)) == (1 if point == "after-commit" else 2, 1)


@pytest.mark.parametrize("vendor", services.chosen_databases())
def test_drains_at_once_send_each_message_once(workers: Workers, vendor: str) -> None:
    with workers.own(vendor, services.rabbitmq(), imports=IMPORTS) as worker:
        worker.start(*processes(4))
        keys = [str(uuid.uuid4()) for _ in range(100)]
        numbers = ordered(worker, keys)
        drains = [worker.send_upkeep("drain_outbox", batch_size=7) for _ in range(8)]
        assert sum(worker.result(sent)["sent"] for sent in drains) == 100
        for number in numbers:
            wait_for_runs(worker, number, 1)
        assert [worker.runs(key) for key in keys] == [1] * 100
