"""Two deliveries of one task, through real brokers to real workers."""

import pytest

from django_idempotency.exceptions import KeyReused
from tests.celery.workers import Worker, Workers, processes
from tests.support import services
from tests.support.barriers import Barriers

pytestmark = pytest.mark.slow


def test_a_second_delivery_gets_the_result_of_the_first(any_worker: Worker, key: str) -> None:
    first, again = (any_worker.result(any_worker.send("pay", key)) for _ in range(2))
    assert first == again
    assert (any_worker.runs(key), any_worker.database.nonces(key)) == (1, [first["nonce"]])


def test_a_delivery_while_the_first_is_running_comes_back_later(worker: Worker, barriers: Barriers, key: str) -> None:
    gate = barriers.gate("view")
    first = worker.send("pay", key, at=gate)
    held = gate.reached()
    again = worker.send("pay", key)
    worker.wait_for(again, "RETRY")
    assert worker.runs(key) == 1
    held.release()
    assert worker.result(again) == worker.result(first)
    assert (worker.runs(key), worker.database.effects(key)) == (1, 1)


def test_a_task_that_redis_gives_to_another_while_it_runs_takes_effect_once(
    workers: Workers, barriers: Barriers, key: str
) -> None:
    services.skip_unless_chosen("postgresql")
    with workers.own("postgresql", services.redis(), visibility=1) as worker:
        worker.start(*processes(1))
        gate = barriers.gate("view")
        sent = worker.send("pay", key, at=gate)
        held = gate.reached()
        worker.start(*processes(1))
        worker.wait_for(sent, "RETRY")
        held.release()
        outcome = worker.result(sent)
        assert (worker.runs(key), worker.database.nonces(key)) == (1, [outcome["nonce"]])


def test_many_deliveries_at_once_take_effect_once(worker: Worker, key: str) -> None:
    results = [worker.result(sent) for sent in [worker.send("pay", key) for _ in range(12)]]
    assert results == [results[0]] * 12
    assert (worker.runs(key), worker.database.nonces(key)) == (1, [results[0]["nonce"]])


def test_other_arguments_under_the_same_key_are_refused_and_not_retried(worker: Worker, key: str) -> None:
    worker.result(worker.send("pay", key))
    other = worker.send("pay", key, 6)
    with pytest.raises(KeyReused, match="first used with another request"):
        worker.result(other)
    assert (other.state, worker.database.effects(key)) == ("FAILURE", 1)


def test_what_a_failed_attempt_wrote_is_undone_before_the_next(worker: Worker, key: str) -> None:
    outcome = worker.result(worker.send("insist", key))
    assert outcome["amount"] == 2
    assert (worker.runs(key), worker.database.nonces(key)) == (3, [outcome["nonce"]])
