"""From an intent comes one key, whoever states it and when."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from django_idempotency.client import Server, intent
from django_idempotency.client.intents import asked

SERVER = Server(origin="https://bank.example", key_ttl=timedelta(hours=24))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def found(stated, *, namespace="shop", server=SERVER, url="https://bank.example/pay?card=4111111111111111"):
    request = httpx.Request("POST", url, json={"amount": 5}, extensions=stated)
    return asked(request, server, namespace=namespace, now=NOW)


def key(*parts, **options):
    return found(intent(*parts), **options).key


def test_the_key_of_an_intent_never_changes():
    assert key("order", 42, "capture") == "21a5ae7d-a1b7-56a3-8024-b9c3621a7955"


def test_neither_does_a_new_secret_change_it(settings):
    before = key("order", 42, "capture")
    settings.SECRET_KEY = "another"
    assert key("order", 42, "capture") == before


def test_an_id_is_the_same_as_a_number_and_as_a_text():
    number = uuid.uuid4()
    assert key("order", 42, "capture") == key("order", "42", "capture")
    assert key("order", number) == key("order", str(number))


def test_other_parts_give_another_key():
    keys = {key("a", "bc"), key("ab", "c"), key("a", "b", "c"), key("c", "ab"), key("a", '"', "bc"), key('a","bc', "d")}
    assert len(keys) == 6


def test_another_namespace_gives_another_key():
    assert key("order", 42, namespace="shop") != key("order", 42, namespace="staging")


@pytest.mark.parametrize("part", [5.0, Decimal(5), NOW, None, True, ("order", 42), b"order"])
def test_amounts_times_and_other_things_are_no_part_of_an_intent(part):
    with pytest.raises(TypeError, match="A part of an intent is"):
        intent("order", part)


@pytest.mark.parametrize("parts", [(), ("order",), ("order", "")])
def test_an_intent_that_could_be_anybodys(parts):
    with pytest.raises(ValueError, match="intent"):
        intent(*parts)


def test_an_intent_that_was_not_made_by_intent():
    with pytest.raises(TypeError, match="Pass what intent"):
        found({"intent": ("order", 42)})


def test_nothing_secret_is_stored_of_a_url():
    assert found(intent("order", 42)).intent.url == "https://bank.example/pay"
    assert "4111" not in found(intent("order", 42), url="https://bank.example/pay/4111111111111111").intent.url


@pytest.mark.parametrize("origin", ["https://bank.example/v1", "bank.example", "https://", "https://bank.example/?a=1"])
def test_an_origin_is_no_url(origin):
    with pytest.raises(ValueError, match="An origin is"):
        Server(origin=origin)


def test_a_default_port_makes_no_difference():
    assert SERVER.serves(httpx.URL("https://bank.example:443/pay"))
    assert not SERVER.serves(httpx.URL("http://bank.example/pay"))
    assert not SERVER.serves(httpx.URL("https://bank.example:8443/pay"))


def test_a_key_that_dies_at_once_is_none():
    with pytest.raises(ValueError, match="leave key_ttl out"):
        Server(origin="https://bank.example", key_ttl=timedelta(minutes=15))


@pytest.mark.parametrize("options", [{"namespace": ""}, {"deadline": 0}])
def test_a_transport_without_a_name_or_without_time(shop_of, options):
    with pytest.raises(ValueError, match=r"namespace|deadline"):
        shop_of("https://bank.example", **options).post()
