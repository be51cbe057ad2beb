"""RedisBackend on a Redis Cluster of three primaries: the contract of all backends, and what a cluster does to it."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.cluster import RedisCluster as Client

from django_idempotency.backends import DatabaseBackend
from django_idempotency.backends.redis.connections import client, evictions, record_key
from django_idempotency.core.engine import Replay, run
from django_idempotency.core.policies import Policy
from django_idempotency.replays import breakers
from tests.backends.test_contract import (  # noqa: F401 - they run here with the store of this module
    TestExpiry,
    TestMismatch,
    TestRelease,
    TestRunsOnce,
    TestTakeover,
)
from tests.support.contenders import ANSWER, MEMORY, Work, code, operation
from tests.support.redis_contender import ALIAS, REDIS
from tests.support.redis_servers import RedisCluster, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MANY = 24


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    cluster = RedisCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def store(settings: Any, cluster: RedisCluster) -> Any:
    REDIS.on(settings, cluster)
    return REDIS


@pytest.fixture
def stored() -> Any:
    """For what the contract asks of a store that a transaction can join: another one is asked elsewhere."""
    MEMORY.ready(None)
    return MEMORY


def port_of(asked: Any, part: str = "") -> int:
    return int(client(ALIAS).get_node_from_key(record_key(ALIAS, asked.id, part)).port)


def test_the_client_is_one_of_a_cluster(store):
    assert isinstance(client(ALIAS), Client)


def test_records_are_spread_and_each_is_on_one_node(store, cluster):
    asked = [operation() for _ in range(MANY)]
    assert {code(store.run(one, Work())) for one in asked} == {"Completed"}
    assert {port_of(one) for one in asked} == {node.port for node in cluster.nodes}
    assert [port_of(one) for one in asked] == [port_of(one, ":answer") for one in asked]
    assert [store.run(one, Work()) for one in asked] == [Replay(ANSWER)] * MANY


def test_a_node_that_does_not_know_the_scripts_is_told_them(store, cluster):
    cluster.ask("SCRIPT FLUSH")
    asked = [operation() for _ in range(MANY)]
    assert {code(store.run(one, Work())) for one in asked} == {"Completed"}


def test_a_record_that_moves_to_another_node_is_found_there(store, cluster):
    asked = operation()
    store.run(asked, Work())
    move(asked, cluster)
    assert store.run(asked, Work()) == Replay(ANSWER)


def move(asked: Any, cluster: RedisCluster) -> None:
    """Give the slot of a record to another node."""
    old = next(node for node in cluster.nodes if node.port == port_of(asked))
    new = next(node for node in cluster.nodes if node is not old)
    slot = client(ALIAS).keyslot(record_key(ALIAS, asked.id))
    ids = {node: node.ask("CLUSTER MYID").decode() for node in (old, new)}
    new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[old])
    old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[new])
    for key in old.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
        old.ask("MIGRATE", "127.0.0.1", new.port, key, 0, 5000)
    for node in (new, old):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[new])


def test_every_primary_is_asked_what_it_does_when_its_memory_is_full(store, cluster):
    assert evictions(ALIAS) == {"noeviction"}
    cluster.nodes[2].ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert evictions(ALIAS) == {"noeviction", "allkeys-lru"}
    cluster.nodes[2].ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_a_dead_node_takes_its_own_keys_with_it_and_no_others(store, cluster, settings):
    """And a worker that begins meanwhile finds the cluster by the other nodes."""
    asked, work = [operation() for _ in range(MANY)], Work()
    dead = cluster.nodes[0]
    there = {one.id: port_of(one) == dead.port for one in asked}
    dead.kill()
    settings.CACHES = dict(settings.CACHES)
    until(lambda: client(ALIAS))
    found = {one.id: code(store.run(one, work)) for one in asked}
    dead.start()
    cluster.settle()
    assert found == {one.id: "store-unavailable" if there[one.id] else "Completed" for one in asked}
    assert work.runs == list(there.values()).count(False)


class TestHungNode:
    """A node that answers nobody with its connections open, as one that is stopped or overloaded."""

    WAIT = 0.5
    """The time-outs, in seconds."""

    @pytest.fixture
    def asked(self, store: Any, settings: Any, cluster: RedisCluster) -> Iterator[Any]:
        """An operation whose record was to be on it, when the client knows the cluster."""
        brief = {"SOCKET_TIMEOUT": self.WAIT, "SOCKET_CONNECT_TIMEOUT": self.WAIT}
        entry = {**cluster.cache, "OPTIONS": {**cluster.cache["OPTIONS"], **brief}}
        settings.CACHES = {**settings.CACHES, ALIAS: entry}
        hung = cluster.nodes[0]
        asked = next(one for one in (operation() for _ in range(1000)) if port_of(one) == hung.port)
        assert code(store.run(asked, Work(answer=None))) == "Released"
        breakers.breaker.cache_clear()
        hung.pause()
        yield asked
        hung.resume()
        store.backend(store.policy).leases().unheard._claims.clear()
        cluster.settle()

    def test_a_request_for_its_key_waits_for_two_time_outs(self, store, asked):
        """One for the command, and one for its repetition."""
        work = Work()
        for _ in range(2):
            started = time.monotonic()
            assert code(store.run(asked, work)) == "store-unavailable"
            assert time.monotonic() - started < 4 * self.WAIT
        assert work.runs == 0

    def test_the_others_do_not_wait(self, store, asked):
        started = time.monotonic()
        others = [one for one in (operation() for _ in range(MANY)) if port_of(one) != port_of(asked)]
        assert {code(store.run(one, Work())) for one in others} == {"Completed"}
        assert time.monotonic() - started < 4 * self.WAIT

    def test_a_cache_in_front_of_the_database_is_waited_for_once(self, asked):
        started = time.monotonic()
        assert code(run(DatabaseBackend(Policy(cache=ALIAS)), asked, Work())) == "Completed"
        assert time.monotonic() - started < 3 * self.WAIT

    def test_a_process_that_begins_meanwhile_finds_the_others(self, asked, settings):
        settings.CACHES = dict(settings.CACHES)
        started = time.monotonic()
        assert client(ALIAS)
        assert time.monotonic() - started < 5 * self.WAIT
