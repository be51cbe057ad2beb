"""RedisBackend as it keeps the contract of all backends, on a Redis of the tests' own."""

import functools
from datetime import timedelta
from typing import Any

from django_idempotency.backends import RedisBackend
from django_idempotency.backends.redis.connections import client, record_key
from django_idempotency.core.engine import Operation
from django_idempotency.core.policies import Policy
from tests.support.contenders import Contender
from tests.support.redis_servers import RedisServer

ALIAS = "records"
HOUR = 60 * 60 * 1000
TIMES = ("claimed_at", "lease_until", "expires_at", "forget_at", "tell_at")


@functools.cache
def server() -> RedisServer:
    """Return the one that most tests share."""
    return RedisServer()


def now() -> int:
    """Return Redis's own time in milliseconds."""
    seconds, microseconds = client(ALIAS).time()
    return seconds * 1000 + microseconds // 1000


class RedisContender(Contender):
    """The store in Redis."""

    def ready(self, settings: Any) -> None:
        self.on(settings, server())

    def on(self, settings: Any, redis: Any) -> None:
        """Keep the records in this Redis, which is emptied."""
        settings.CACHES = {**settings.CACHES, ALIAS: redis.cache}
        redis.ask("FLUSHALL")
        self.backend(self.policy).leases().unheard._claims.clear()

    def plant(self, operation: Operation, state: str = "processing", **columns: Any) -> None:
        """One without a token is at work; with one, its lease has run out."""
        times = {name: now() - self._ms(age) for name, age in columns.items() if name.endswith("_at")}
        lease = now() + (-HOUR if "token" in columns else HOUR)
        found = {"claim": 1, "token": 1, "claimed_at": now() - 2 * HOUR, "lease_until": lease, **columns, **times}
        self.change(operation, state=state, fingerprint=operation.fingerprints[0], **found)

    def state(self, operation: Operation) -> str | None:
        found = client(ALIAS).hget(self._at(operation), "state")
        return found.decode() if found else None

    def change(self, operation: Operation, **columns: Any) -> None:
        client(ALIAS).hset(self._at(operation), mapping={name: self._stored(columns[name]) for name in columns})

    def age(self, operation: Operation, by: timedelta) -> None:
        found = client(ALIAS).hmget(self._at(operation), TIMES)
        known = {name: int(time) for name, time in zip(TIMES, found, strict=True) if time}
        self.change(operation, **{name: time - self._ms(by) for name, time in known.items()})

    def _at(self, operation: Operation) -> str:
        return record_key(ALIAS, operation.id)

    def _ms(self, duration: timedelta) -> int:
        return round(duration.total_seconds() * 1000)

    def _stored(self, value: Any) -> Any:
        return getattr(value, "value", value)


REDIS = RedisContender(
    name="redis",
    policy=Policy(cache=ALIAS, backend="django_idempotency.backends.RedisBackend"),
    backend=RedisBackend,
    takes_over=False,
    lapses=True,
    undoes=False,
)
