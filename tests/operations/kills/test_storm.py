"""500 payments; workers killed at random, their clocks wrong by up to ten minutes; a gateway that fails in every way."""

import sys
import uuid
from collections import Counter

import pytest

from django_idempotency.gateways.fake import FakeGateway
from tests.operations.kills import traces
from tests.operations.kills.shops import AMOUNTS, FINAL, Order, Shop, command, settings
from tests.operations.kills.storms import Storm, failing
from tests.support.barriers import Barriers
from tests.support.databases import RECORD
from tests.support.live import Servers

ORDERS = 500
FAILS = 0.2
SKEW = 600

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def check(shop: Shop, orders: list[Order]) -> dict[str, int]:
    """Each charged once and in the ledger once, or left to a person and charged once at most; how many in which state."""
    states: dict[str, str] = dict(shop.live.database.query(f"SELECT key, state FROM {RECORD}"))
    written: dict[str, int] = dict(shop.live.database.query("SELECT key, count(*) FROM bank_payment GROUP BY key"))
    # One that took a minor unit too much counts for the same order.
    charges = Counter(charge["amount"] // 10 * 10 for charge in shop.gateway.charges)
    assert states.keys() == {order.key for order in orders}
    for order in orders:
        state, paid = states[order.key], written.get(order.key, 0)
        assert state in FINAL
        assert written.get(f"reserved {order.key}", 0) == 1
        assert (charges[order.amount], paid) in ([(1, 1)] if state == "completed" else [(0, 0), (1, 0)]), order
        assert state == "completed" or "unknown" in shop.incidents(order)
    return Counter(states.values())


@pytest.mark.parametrize("vendor", traces.SERVERS)
def test_after_a_storm_nothing_is_charged_twice_and_nothing_is_lost(
    servers: Servers, barriers: Barriers, vendor: str
) -> None:
    orders = [Order(key=str(uuid.uuid4()), amount=next(AMOUNTS)) for _ in range(ORDERS)]
    with FakeGateway(failing(FAILS), seed=7) as gateway:
        options = settings(gateway, SKEW=SKEW)
        live = servers.start(servers.databases.new(vendor), workers=4, threads=4, command=command, **options)
        shop = Shop(live, gateway, barriers, vendor)
        storm = Storm(shop, orders)
        storm.rage(clients=12)
        storm.end()
        states = check(shop, orders)
        for order in orders:
            if order.key in storm.answers:
                assert storm.answers[order.key] == {shop.ask(order).content}
        servers.stop(live)
    unknown = states["unknown"]
    sys.stdout.write(
        f"{ORDERS} payments, {storm.kills} workers killed, {unknown / ORDERS:.1%} unknown, {dict(storm.others)}\n"
    )
    # It was a storm, and not a breeze.
    assert storm.kills > 5
    assert storm.skew > 60
    assert 0 < unknown < ORDERS * FAILS
