"""What a gateway's key and look-up must do, and what becomes of a payment where they cannot."""

from datetime import timedelta

import pytest

from django_idempotency.gateways.fake import Fault, Kind
from tests.operations.kills.shops import Shop

pytestmark = pytest.mark.slow

LONGER_THAN_THE_KEY = timedelta(hours=25)


def test_a_call_that_nobody_heard_of_is_not_sent_again_when_its_key_may_be_forgotten(shop: Shop, key: str) -> None:
    order = shop.order(key)
    shop.kill(order, "before-call-1")
    shop.age(order, LONGER_THAN_THE_KEY)
    shop.finish(order)
    shop.doubt(order, charges=0)
    assert shop.sent(order) == 0


def test_a_charge_that_arrives_after_such_a_look_up_is_not_made_twice(shop: Shop, key: str) -> None:
    order = shop.order(key, faults=[Fault(kind=Kind.LATE, times=1)])
    shop.ask(order)
    shop.age(order, LONGER_THAN_THE_KEY)
    shop.finish(order)
    shop.doubt(order, charges=1)
    assert shop.sent(order) == 1


def test_without_a_look_up_the_same_call_is_sent_again_under_its_key(shop: Shop, key: str) -> None:
    order = shop.order(key, "/plain/blind")
    shop.kill(order, "after-call-1")
    shop.finish(order)
    shop.settle(order)
    assert shop.sent(order) == 2


def test_without_a_look_up_it_is_not_sent_again_when_its_key_may_be_forgotten(shop: Shop, key: str) -> None:
    order = shop.order(key, "/plain/blind")
    shop.kill(order, "after-call-1")
    shop.age(order, LONGER_THAN_THE_KEY)
    shop.gateway.keys.forget()
    shop.finish(order)
    shop.doubt(order, charges=1)


def test_a_gateway_that_knows_of_no_keys_is_asked_and_not_called_again(shop: Shop, key: str) -> None:
    order = shop.order(key, "/plain/keyless")
    shop.kill(order, "after-call-1")
    shop.finish(order)
    shop.settle(order)
    assert shop.sent(order) == 1


def test_where_such_a_gateway_has_heard_of_nothing_nobody_knows(shop: Shop, key: str) -> None:
    order = shop.order(key, "/plain/keyless")
    shop.kill(order, "before-call-1")
    shop.finish(order)
    shop.doubt(order, charges=0)
    assert shop.sent(order) == 0


def test_an_amount_that_differs_from_what_was_asked_is_left_to_a_person(shop: Shop, key: str) -> None:
    order = shop.order(key, faults=[Fault(kind=Kind.WRONG_AMOUNT, times=1)])
    shop.ask(order)
    shop.finish(order)
    shop.doubt(order, charges=1)
    assert shop.sent(order) == 1


def test_a_look_up_that_stays_down_leaves_the_payment_to_a_person_and_sends_nothing(shop: Shop, key: str) -> None:
    order = shop.order(key, faults=[Fault(kind=Kind.LOST, times=1), Fault(kind=Kind.LOOKUP_DOWN)])
    shop.ask(order)
    shop.finish(order)
    shop.doubt(order, charges=1)
    assert shop.sent(order) == 1
