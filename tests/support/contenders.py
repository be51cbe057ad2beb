"""The backends and claim modes that keep one contract, and what each can do."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from django_idempotency.backends import DatabaseBackend, MemoryBackend
from django_idempotency.core import fingerprints, keys
from django_idempotency.core.engine import Claim, Operation, Outcome, Refused, Snapshot, StoredRecord, run
from django_idempotency.core.policies import Policy
from django_idempotency.core.states import State
from django_idempotency.models import IdempotencyRecord
from tests.support.records import stored

ANSWER = Snapshot(201, (("Content-Type", "text/plain"),), b"paid")
RETENTION, TOMBSTONE = timedelta(hours=72), timedelta(days=30)


def operation(key: str = "", *, scope: str = "user:1", body: bytes = b"amount=5") -> Operation:
    """Return one user's request; under a key of its own unless one is given."""
    key = key or str(uuid.uuid4())
    return Operation(
        namespace="default",
        scope=scope,
        key=key,
        id=keys.record_id("default", scope, key),
        fingerprints=(fingerprints.fingerprint("secret", [body]),),
        method="POST",
        path="/pay",
        retention=RETENTION,
        tombstone=TOMBSTONE,
    )


def code(outcome: Any) -> str:
    """Return the code of a refusal; of anything else the name of its class."""
    return outcome.error.code if isinstance(outcome, Refused) else type(outcome).__name__


@dataclass
class Work:
    """Protected work that counts its runs, does something if told to, and returns an answer."""

    act: Callable[[], Any] | None = None
    answer: Snapshot | None = ANSWER
    claims: list[Claim] = field(default_factory=list)

    def __call__(self, claim: Claim) -> Snapshot | None:
        self.claims.append(claim)
        if self.act:
            self.act()
        return self.answer

    @property
    def runs(self) -> int:
        return len(self.claims)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A store on the tests' database."""

    name: str
    policy: Policy
    backend: Any = DatabaseBackend
    parallel: bool = True
    """Two keys can be at work at the same time."""
    visible: bool = True
    """A claim is seen by others while its work runs."""
    takes_over: bool = True
    """A claim may outlive its owner."""
    lapses: bool = False
    """A claim that has outlived its owner is in doubt."""
    undoes: bool = True
    """What the work has done is undone when it raises."""

    def ready(self, settings: Any) -> None:
        """Make it an empty store, where a test's database does not see to that."""

    def run(self, operation: Operation, work: Callable[[Claim], Snapshot | None], *, wait: float = 0) -> Outcome:
        return run(self.backend(self.policy), operation, work, wait=wait)

    def plant(self, operation: Operation, state: str = "processing", **columns: Any) -> None:
        """Put a record there, claimed two hours ago; times are given as ages."""
        names = ("id", "key", "scope")
        mine = {name: getattr(operation, name) for name in names} | {"fingerprint": operation.fingerprints[0]}
        stored(state, **mine, **columns)

    def state(self, operation: Operation) -> str | None:
        return IdempotencyRecord.objects.filter(pk=operation.id).values_list("state", flat=True).first()

    def change(self, operation: Operation, **columns: Any) -> None:
        """Change a record past the protocol."""
        assert IdempotencyRecord.objects.filter(pk=operation.id).update(**columns) == 1

    def age(self, operation: Operation, by: timedelta) -> None:
        self.change(operation, **{name: F(name) - by for name in ("claimed_at", "expires_at", "forget_at")})


class MemoryContender(Contender):
    """The store in this process's memory."""

    def ready(self, settings: Any) -> None:
        MemoryBackend.clear()

    def plant(self, operation: Operation, state: str = "processing", **columns: Any) -> None:
        now = timezone.now()
        times = {name: now - age for name, age in columns.items() if name.endswith("_at")}
        columns = {"claim": 1, "token": 0, "claimed_at": now - timedelta(hours=2), **columns, **times}
        record = StoredRecord(state=State(state), fingerprint=operation.fingerprints[0], now=now, **columns)
        MemoryBackend._records[operation.id] = record

    def state(self, operation: Operation) -> str | None:
        record = MemoryBackend._records.get(operation.id)
        return record and record.state.value

    def change(self, operation: Operation, **columns: Any) -> None:
        MemoryBackend._records[operation.id] = replace(MemoryBackend._records[operation.id], **columns)

    def age(self, operation: Operation, by: timedelta) -> None:
        record = MemoryBackend._records[operation.id]
        times = {name: getattr(record, name) for name in ("claimed_at", "expires_at", "forget_at")}
        self.change(operation, **{name: time - by for name, time in times.items() if time})


MEMORY = MemoryContender(name="memory", policy=Policy(), backend=MemoryBackend, takes_over=False)
COMMITTED = Contender(name="committed", policy=Policy())
JOINED = Contender(name="joined", policy=Policy(claim="joined"), visible=False)
SQLITE = Contender(
    name="sqlite",
    policy=Policy(join_timeout=timedelta(seconds=0.1)),
    parallel=False,
    visible=False,
    takes_over=False,
)

# MariaDB's second writer waits in line, too; a bound below a second is none there.
JOINED_MARIADB = replace(JOINED, policy=Policy(claim="joined", join_timeout=timedelta(0)))
OF_DATABASE = {"postgresql": [COMMITTED, JOINED], "mariadb": [COMMITTED, JOINED_MARIADB], "sqlite": [SQLITE]}

CONTENDERS = [MEMORY, *OF_DATABASE[settings.TEST_DATABASE]]
DATABASES = CONTENDERS[1:]
