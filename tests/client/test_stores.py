"""Every store keeps the first parameters of an intent, whoever comes at the same time."""

import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.test import TestCase, override_settings

from django_idempotency.client import DatabaseIntents, Intent, MemoryIntents, Server
from django_idempotency.models import IdempotencyIntent
from tests.client.loopback import Keyless, Stripe
from tests.client.shops import CAPTURE, Shop


@pytest.fixture(params=[MemoryIntents, DatabaseIntents])
def store(request, transactional_db):
    return request.param()


def stated(**columns):
    return Intent(
        **{
            "id": uuid.uuid4(),
            "namespace": "shop",
            "intent": '["order","42"]',
            "method": "POST",
            "url": "https://bank.example/pay",
            "fingerprint": b"\x01" * 33,
            "first_sent_at": datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC),
            **columns,
        }
    )


def test_the_first_statement_is_kept(store):
    first = stated()
    later = replace(first, fingerprint=b"\x01other", first_sent_at=datetime(2026, 11, 22, tzinfo=UTC))
    assert store.remember(first) == (first, True)
    assert store.remember(later) == (first, False)


@override_settings(USE_TZ=False)
def test_in_a_project_without_time_zones_too(store):
    first = stated()
    assert [store.remember(first), store.remember(first)] == [(first, True), (first, False)]


def test_intents_do_not_meet(store):
    first, second = stated(), stated()
    assert [store.remember(intent) for intent in (first, second)] == [(first, True), (second, True)]


def test_of_many_at_once_one_is_first_and_all_learn_of_it(store):
    first, barrier, found = stated(), threading.Barrier(8), []

    def state(number):
        barrier.wait()
        found.append(store.remember(replace(first, fingerprint=bytes([1, number]))))
        connections.close_all()

    threads = [threading.Thread(target=state, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert sum(new for _, new in found) == 1
    assert len({intent.fingerprint for intent, _ in found}) == 1


@pytest.mark.django_db(transaction=True)
class TestDatabase:
    def test_nothing_is_sent_that_a_rollback_could_forget(self, serve):
        server = serve(Keyless())
        shop = Shop("sync", Server(origin=server.origin), store=DatabaseIntents())
        with transaction.atomic(), pytest.raises(ImproperlyConfigured, match="before the transaction or after it"):
            shop.post()
        assert server.seen == []
        assert not IdempotencyIntent.objects.exists()

    def test_nor_without_autocommit(self):
        connection.set_autocommit(False)
        try:
            with pytest.raises(ImproperlyConfigured):
                DatabaseIntents().remember(stated())
        finally:
            connection.rollback()
            connection.set_autocommit(True)

    def test_the_intent_is_stored_before_the_first_byte(self, serve, shop_of):
        seen_by_server = []

        class Looking(Stripe):
            def __call__(self, seen):
                seen_by_server.extend(IdempotencyIntent.objects.values_list("intent", "method", "id"))
                connections.close_all()
                return super().__call__(seen)

        server = serve(Looking())
        shop_of(server, store=DatabaseIntents()).post()
        assert seen_by_server == [('["order","42","capture"]', "POST", uuid.UUID(server.seen[0].key))]

    def test_nothing_is_sent_when_it_cannot_be_stored(self, serve, shop_of, monkeypatch):
        server, refused = serve(Keyless()), ConnectionError("the database is away")
        shop = shop_of(server, store=DatabaseIntents())
        monkeypatch.setattr(IdempotencyIntent._default_manager, "using", lambda alias: (_ for _ in ()).throw(refused))
        with pytest.raises(ConnectionError):
            shop.post()
        assert server.seen == []

    def test_a_row_tells_what_it_is(self, serve, shop_of):
        shop_of(serve(Keyless()), store=DatabaseIntents()).post(extensions=CAPTURE)
        assert str(IdempotencyIntent.objects.get()) == '["order","42","capture"] (shop)'


class TestInATestCase(TestCase):
    def test_its_own_transaction_does_not_count(self):
        first = stated()
        assert connection.in_atomic_block
        assert DatabaseIntents().remember(first) == (first, True)
