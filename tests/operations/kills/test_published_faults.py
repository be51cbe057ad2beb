"""Two faults of the best-known published design: a transaction open across the call, and "down" as the final answer."""

import pytest

from django_idempotency.gateways.fake import FakeGateway, Fault, Kind
from tests.operations.kills import traces
from tests.operations.kills.shops import Shop

OPEN = {
    "postgresql": (
        "SELECT pid, state, query FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    ),
    "mariadb": (
        "SELECT session.id, session.command, session.info FROM information_schema.innodb_trx"
        " JOIN information_schema.processlist AS session ON session.id = trx_mysql_thread_id"
        " WHERE session.db = database() AND session.id <> connection_id()"
    ),
}


@pytest.mark.parametrize("shop", traces.SERVERS, indirect=True)
@pytest.mark.parametrize("resumed", [False, True], ids=["first", "resumed"])
def test_no_transaction_is_open_while_the_gateway_is_at_work(
    shop: Shop, gateway: FakeGateway, key: str, resumed: bool
) -> None:
    lost = [Fault(kind=Kind.CUT, times=1)] if resumed else []
    order = shop.order(key, faults=[*lost, Fault(kind=Kind.HOLD_AFTER, times=1)])
    if resumed:
        shop.ask(order)
        shop.lapse(order)
    answer = shop.live.client.pool.submit(shop.upkeep if resumed else lambda: shop.ask(order))
    assert gateway.barriers.held(wait=5)
    assert shop.live.database.query(OPEN[shop.vendor]) == []
    gateway.barriers.release()
    assert answer.result() is not None
    shop.finish(order)
    shop.settle(order)


@pytest.mark.parametrize("kind", [Kind.ERROR_BEFORE, Kind.CUT, Kind.LOST])
def test_a_gateway_that_is_down_is_no_answer_to_keep(shop: Shop, gateway: FakeGateway, key: str, kind: Kind) -> None:
    order = shop.order(key, faults=[Fault(kind=kind), Fault(kind=Kind.LOOKUP_DOWN)])
    for _ in range(3):
        down = shop.ask(order)
        assert (down.status_code in (409, 503), down.json()["retryable"]) == (True, True)
        assert shop.live.database.state(key) == "processing"
    gateway.faults.set([])
    assert shop.ask(order).status_code == 201
    shop.settle(order)
