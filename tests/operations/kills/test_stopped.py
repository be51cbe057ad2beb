"""SIGSTOP: a worker that stands still while others go on, and wakes up in the middle of what it was doing."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.operations.kills import traces
from tests.operations.kills.shops import LEASE, Shop
from tests.support import services
from tests.support.barriers import Held
from tests.support.problems import problem

pytestmark = pytest.mark.slow

HOLDING = [(vendor, point) for vendor in traces.SERVERS for point in traces.locked(vendor)]
FREE = [(vendor, point) for vendor in services.chosen_databases() for point in traces.free(vendor)]
WRITING = [(vendor, point) for vendor, point in FREE if point.startswith("before-")]


def at(pairs: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("shop", "point"), pairs, indirect=["shop"])


@contextmanager
def stopped(held: Held) -> Iterator[None]:
    """Until the end of the block, in which others go on."""
    held.stop()
    try:
        yield
    finally:
        held.wake()


@at(FREE)
def test_one_that_wakes_up_when_others_have_finished_adds_nothing_and_gives_their_answer(
    shop: Shop, key: str, point: str
) -> None:
    order = shop.order(key)
    gate = shop.barriers.gate(point)
    zombie = shop.start(order, gate)
    with stopped(gate.reached()):
        shop.finish(order)
        answer = shop.ask(order)
    late = zombie.result()
    assert (late.status_code, late.content) == (201, answer.content)
    shop.settle(order)


@at(WRITING)
def test_one_that_wakes_up_while_another_is_at_work_writes_nothing(shop: Shop, key: str, point: str) -> None:
    order = shop.order(key)
    gate, other = shop.barriers.gate(point), shop.barriers.gate("after-commit-1")
    zombie = shop.start(order, gate)
    with stopped(gate.reached()):
        shop.lapse(order)
        resumed = shop.live.client.pool.submit(shop.upkeep, other)
        taken_up = other.reached()
        before = shop.written(order)
    problem(zombie.result(), 409, "in-flight", retryable=True)
    assert shop.written(order) == before
    taken_up.release()
    assert resumed.result()["completed"] == 1
    shop.settle(order)


@at(WRITING)
def test_one_that_wakes_up_when_a_person_has_settled_it_writes_nothing(shop: Shop, key: str, point: str) -> None:
    order = shop.order(key)
    gate = shop.barriers.gate(point)
    zombie = shop.start(order, gate)
    with stopped(gate.reached()):
        shop.write(order, "state = 'unknown'")
        before = shop.written(order)
    problem(zombie.result(), 409, "outcome-unknown", retryable=False)
    assert shop.written(order) == before


@at(HOLDING)
def test_nobody_waits_for_one_that_stands_still_in_a_transaction(shop: Shop, key: str, point: str) -> None:
    order = shop.order(key)
    gate = shop.barriers.gate(f"before-{traces.last_hold(point, shop.vendor)}", point)
    zombie = shop.start(order, gate)
    held = gate.reached()
    shop.lapse(order)
    held.release()
    with stopped(gate.reached()):
        nothing = shop.live.client.pool.submit(shop.upkeep).result(timeout=LEASE * 2)
        assert nothing == {"completed": 0, "postponed": 0, "parked": 0}
        problem(shop.ask(order), 409, "in-flight", retryable=True)
    assert zombie.result().status_code == 201
    shop.settle(order)


@pytest.mark.parametrize("shop", services.chosen_databases(), indirect=True)
def test_a_call_is_not_sent_after_its_sender_has_stood_still(shop: Shop, key: str) -> None:
    order = shop.order(key)
    written = "after-step-2" if shop.vendor == "postgresql" else "after-commit-2"
    gate = shop.barriers.gate(written)
    zombie = shop.start(order, gate)
    with stopped(gate.reached()):
        # By itself: the worker's own clock has to see that time has gone by.
        answer = shop.live.client.insist(order.path, order.data, key=key, within=LEASE * 3)
        assert (answer.status_code, shop.sent(order)) == (201, 1)
    assert zombie.result().json()["retryable"]
    assert shop.sent(order) == 1
    shop.settle(order)
