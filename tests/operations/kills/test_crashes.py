"""SIGKILL before and after every write and every call, crossed with what a gateway can do meanwhile."""

import pytest

from django_idempotency.gateways.fake import FakeGateway, Fault, Kind
from tests.operations.kills import traces
from tests.operations.kills.shops import Shop
from tests.settings import HAVE_DRF

pytestmark = pytest.mark.slow


def once(*kinds: Kind) -> list[Fault]:
    return [Fault(kind=kind, times=1) for kind in kinds]


FAILING = {
    "an answer is lost after the charge": once(Kind.LOST),
    "500 before the charge": once(Kind.ERROR_BEFORE),
    "500 after the charge": once(Kind.ERROR_AFTER),
    "the charge arrives after the look-up": once(Kind.LATE),
    "the look-up is down": [*once(Kind.LOST), Fault(kind=Kind.LOOKUP_DOWN, times=2)],
    "no answer in time": once(Kind.HOLD_BEFORE),
}
failing = pytest.mark.parametrize("fault", FAILING)
PATHS = ["/plain/pay", *(["/api/pay"] if HAVE_DRF else [])]


class TestTraces:
    """The points below are all that there are."""

    def test_a_payment_comes_to_all_the_points_of_a_whole_one(self, shop: Shop, vendor: str, key: str) -> None:
        assert shop.ask(shop.order(key)).headers["X-Test-Trace"] == traces.of(traces.WHOLE, vendor)

    @pytest.mark.parametrize(
        ("kind", "trace"), [(Kind.LOST, traces.FOUND), (Kind.LATE, traces.AGAIN)], ids=["found", "again"]
    )
    def test_upkeep_comes_to_all_the_points_of_a_resumed_one(
        self, shop: Shop, vendor: str, key: str, kind: Kind, trace: dict[str, str]
    ) -> None:
        order = shop.order(key, faults=once(kind))
        assert shop.ask(order).headers["X-Test-Trace"] == traces.of(traces.PUT_OFF, vendor)
        shop.lapse(order)
        assert shop.live.client.post("/upkeep").headers["X-Test-Trace"] == traces.of(trace, vendor)
        shop.settle(order)


@traces.at(traces.WHOLE)
def test_a_payment_killed_anywhere_is_finished_by_upkeep(shop: Shop, key: str, point: str) -> None:
    order = shop.order(key)
    shop.kill(order, point)
    shop.finish(order)
    shop.settle(order)


@traces.at(traces.WHOLE)
def test_a_charge_is_found_even_where_the_gateway_has_forgotten_its_key(
    shop: Shop, gateway: FakeGateway, key: str, point: str
) -> None:
    order = shop.order(key)
    shop.kill(order, point)
    gateway.keys.forget()
    shop.finish(order)
    shop.settle(order)


@failing
@traces.at(traces.PUT_OFF)
def test_a_payment_killed_anywhere_is_finished_though_the_gateway_fails(
    shop: Shop, key: str, point: str, fault: str
) -> None:
    order = shop.order(key, faults=FAILING[fault])
    shop.kill(order, point)
    shop.finish(order)
    shop.settle(order)


@traces.at(traces.FOUND)
def test_upkeep_killed_anywhere_after_an_answer_was_lost_is_taken_over(shop: Shop, key: str, point: str) -> None:
    order = shop.order(key, faults=once(Kind.LOST))
    shop.ask(order)
    shop.lapse(order)
    shop.kill_upkeep(point)
    shop.finish(order)
    shop.settle(order)
    assert shop.sent(order) == 1


@traces.at(traces.AGAIN)
def test_upkeep_killed_anywhere_while_it_sends_a_call_again_is_taken_over(shop: Shop, key: str, point: str) -> None:
    order = shop.order(key, faults=once(Kind.LATE))
    shop.ask(order)
    shop.lapse(order)
    shop.kill_upkeep(point)
    shop.finish(order)
    shop.settle(order)


@pytest.mark.parametrize("path", PATHS)
@traces.at(traces.WHOLE)
def test_the_clients_retry_goes_on_and_gets_the_answer(shop: Shop, key: str, point: str, path: str) -> None:
    order = shop.order(key, path)
    shop.kill(order, point)
    shop.lapse(order)
    retry = shop.live.client.insist(path, order.data, key=key)
    assert retry.status_code == 201, retry.text
    assert retry.content == shop.ask(order).content
    shop.settle(order)
