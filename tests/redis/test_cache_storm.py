"""The storm of the core, with the cache in front of the database and its Redis flushed fifty times a second."""

import os
import threading
from typing import Any

import pytest

from tests.storm.weather import Storm
from tests.support.databases import RECORD
from tests.support.kinds import both
from tests.support.live import Servers
from tests.support.redis_servers import RedisServer
from tests.support.services import chosen_databases

SECONDS = float(os.environ.get("IDEMPOTENCY_STORM_SECONDS", "60")) / 2
EVERY = 0.02

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS * 2 + 120)]


class Flushed:
    """Flushes a Redis again and again, and counts."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.times = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._flush, daemon=True)

    def _flush(self) -> None:
        with self.server.client() as client:
            while not self.over.wait(EVERY):
                client.flushall()
                self.times += 1

    def __enter__(self) -> "Flushed":
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.thread.join()


@pytest.mark.parametrize("vendor", chosen_databases())
def test_after_a_storm_every_key_has_one_effect_and_one_answer(servers: Servers, vendor: str, own_redis: RedisServer):
    place = {"OPTIONS": {"application_name": "bank"}} if vendor == "postgresql" else {}
    caches = {"default": {**own_redis.cache, "OPTIONS": {"SOCKET_TIMEOUT": 0.2, "SOCKET_CONNECT_TIMEOUT": 0.2}}}
    settings = {"CACHES": caches, "IDEMPOTENCY": {"default": {"CACHE": "default", "MAX_LIVE_KEYS": 1_000_000}}}
    live = servers.start(servers.databases.new(vendor), workers=3, threads=8, place=place, **settings)
    storm = Storm(live, [*both("pay"), *both("joined")])
    with Flushed(own_redis) as flushed:
        storm.rage(SECONDS, clients=12)
    counts = own_redis.ask("INFO", "stats")
    servers.stop(live)
    keys = storm.log.answers
    assert {key for key, answers in keys.items() if len(answers) != 1} == set()
    effects: dict[str, int] = dict(live.database.query("SELECT key, count(*) FROM bank_payment GROUP BY key"))
    assert effects == dict.fromkeys(keys, 1)
    states: dict[str, int] = dict(live.database.query(f"SELECT state, count(*) FROM {RECORD} GROUP BY state"))
    assert states == {"completed": len(keys)}
    # It was a storm, and the cache was in it.
    assert len(keys) > 20
    assert flushed.times > SECONDS / EVERY / 20
    assert counts["keyspace_hits"] > 0
