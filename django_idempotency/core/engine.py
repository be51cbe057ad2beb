"""What happens to one request, decided from what the store knows. All decisions are here; stores only carry them out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Protocol
from uuid import UUID

from ..exceptions import IdempotencyError, InFlight, KeyExpired, KeyReused, OutcomeUnknown, StoreUnavailable
from . import fingerprints, keys
from .states import State

# A duplicate leaves a claim alone that is younger than this: its owner is on the way from the claim to the lock.
GUARD = timedelta(seconds=1)
# How often a request looks again when the store gave no clear picture, before it answers "in flight".
ATTEMPTS = 3


def claim_number() -> int:
    """
    A random number that fits a signed 64-bit column, made anew for every claim: were it used again, whoever still knew
    an earlier claim of the same request could change the later one.
    """
    return secrets.randbits(63)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParts:
    """What is stored of a request for the staff, masked or encrypted already."""

    headers: str = ""
    """A JSON list of pairs."""
    body: bytes | None = field(default=None, repr=False)
    whole: bool | None = None
    """Whether the request could be sent again as it is stored."""
    key_id: str = ""
    """Names the key under which the body is encrypted; empty where it is not."""
    amount: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """What a durable operation is resumed from, without its request."""

    name: str
    """Where its function is found."""
    input: bytes | None = field(repr=False)
    """What the function is called with: JSON, encrypted where there are keys."""
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request, as the store sees it."""

    namespace: str
    scope: str
    key: str
    id: UUID
    fingerprints: tuple[bytes, ...]
    """The first is stored; the others are what earlier secrets would have given."""
    method: str
    path: str
    retention: timedelta
    tombstone: timedelta
    parts: Callable[[], RequestParts] = field(default=RequestParts, repr=False, compare=False)
    """Makes what is stored of the request. A replay from a cache, and a store that keeps nothing of it, do without."""
    lease: timedelta = timedelta(0)
    """How long a claim made outside a transaction is exclusive."""
    rerun: bool = False
    """Whether running it twice does no harm."""
    durable: Durable | None = None
    """Whether its journal says how far it came, so that whoever comes next goes on from there."""
    max_live_keys: int | None = None
    """How many keys its scope may have in use; None: any number."""
    patient: bool = False
    """Whether it waits for a running first request, and so wants to know of its end at once."""

    @property
    def request(self) -> RequestParts:
        return self.parts()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen answer. A body of None was too large or streamed, and is not replayed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = field(repr=False)
    key_id: str = ""
    """Names the key under which the body is encrypted; empty where it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """What the store holds for an operation's id, with the store's own time of reading it."""

    state: State
    claim: int
    token: int
    fingerprint: bytes
    now: datetime
    claimed_at: datetime
    expires_at: datetime | None = None
    forget_at: datetime | None = None
    lease_until: datetime | None = None
    """Until when a claim made outside a transaction is exclusive; None for one that a row lock guards."""
    snapshot: Snapshot | None = None


@dataclass(slots=True)
class Ending:
    """What the work says of its own end where nothing of it is kept; whoever releases its claim reads it."""

    expected: bool = False
    """Whether it raised what is an ordinary answer, such as a 404."""
    status: int = 0
    """Of the answer that was returned and is not kept."""
    error: str = ""
    """The name of the exception that ended it."""
    unknown: bool = False
    """Whether what it did stays done, and nobody knows what that is."""

    @property
    def failed(self) -> bool:
        """Whether the staff should look at it."""
        return self.status >= 500 or (bool(self.error) and not self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run an operation, compared in every later write."""

    operation: Operation
    number: int
    attempt: int = 1
    seen: StoredRecord | None = None
    """The abandoned or lapsed record that this claim takes over; None for a new one."""
    ending: Ending = field(default_factory=Ending, compare=False)


@dataclass(frozen=True, slots=True)
class Completed:
    """The work ran, and its effects and its answer are kept."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Released:
    """The work ran, nothing of it was kept, and the key is free."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Replay:
    """The work ran earlier; this is its answer."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Refused:
    """The work was not run, or nobody can say what became of it."""

    error: IdempotencyError


Outcome = Completed | Released | Replay | Refused


class Again(Enum):
    """What a store says when it must be asked again. Nothing was run."""

    UNCLEAR = "somebody else changed the record between two statements"
    FORGOTTEN = "the record has outlived its tombstone and gives way"


Verdict = Claim | Replay | Refused | Again
Work = Callable[[Claim], Snapshot | None]
"""The protected work: its answer where that is to be kept, else None. An exception is a failure."""


class Store(Protocol):
    """What the engine needs of a backend."""

    def attempt(self, operation: Operation, work: Work) -> Outcome | Again: ...


def judge(operation: Operation, record: StoredRecord, *, running_here: bool = False) -> Verdict:
    """
    What an existing record means for an operation. Expired comes before mismatched, mismatched before in flight.

    Expired is by time, not by purge: an answer past its retention is gone even while its bytes are still there.
    """
    if record.forget_at is not None and record.forget_at <= record.now:
        return Again.FORGOTTEN
    if record.state is State.TOMBSTONE or (record.expires_at is not None and record.expires_at <= record.now):
        return Refused(KeyExpired())
    if not fingerprints.comparable(record.fingerprint):
        return Refused(InFlight("This request is in the care of another release of this service. Send it again soon."))
    if not fingerprints.same(record.fingerprint, operation.fingerprints):
        return Refused(KeyReused())
    return _judge_match(operation, record, running_here)


def _judge_match(operation: Operation, record: StoredRecord, running_here: bool) -> Verdict:
    if record.snapshot is not None:
        return Replay(record.snapshot)
    if running_here:
        return Refused(InFlight())
    if record.lease_until is not None:
        return _judge_lease(operation, record, record.lease_until)
    if record.state is State.UNKNOWN or record.token > 0:
        return Refused(OutcomeUnknown(operation=operation.id))
    if operation.durable or record.now - record.claimed_at < GUARD:
        # An operation has a lease. What has none was claimed by a view, for recover() to settle.
        return Refused(InFlight())
    return Claim(operation=operation, number=record.claim, attempt=2, seen=record)


def _judge_lease(operation: Operation, record: StoredRecord, lease_until: datetime) -> Verdict:
    """Where the lease has run out, or its work has failed, nobody knows what was done."""
    if record.state is State.PROCESSING and record.now < lease_until:
        return Refused(InFlight())
    resumed = operation.durable is not None and record.state is State.PROCESSING
    if not (operation.rerun or resumed):
        return Refused(OutcomeUnknown(operation=operation.id))
    return Claim(operation=operation, number=record.claim, attempt=record.token + 1, seen=record)


def run(store: Store, operation: Operation, work: Work, *, wait: float = 0) -> Outcome:
    """
    Run the work at most once for its key, or say what stands in the way.

    `wait` is how many seconds to wait for a running first request instead of refusing at once.
    """
    if wait:
        operation = replace(operation, patient=True)
    deadline = time.monotonic() + wait
    pause = 0.02
    while True:
        outcome = _settle(store, operation, work)
        if not in_flight(outcome) or time.monotonic() + pause > deadline:
            return outcome
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def in_flight(outcome: object) -> bool:
    """Whether the first request still runs, so that asking again may help."""
    return isinstance(outcome, Refused) and isinstance(outcome.error, InFlight)


def _settle(store: Store, operation: Operation, work: Work) -> Outcome:
    for _ in range(ATTEMPTS):
        try:
            outcome = store.attempt(operation, work)
        except StoreUnavailable as exc:
            return Refused(exc)
        if not isinstance(outcome, Again):
            return outcome
    # An empty result never means that the key is free: somebody else is at work on it.
    return Refused(InFlight())


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What a view finds as `request.idempotency`."""

    key: str | None
    """The client's key; None where the view does not require one and the client sent none."""
    id: UUID | None
    """The record's id; None without a key."""
    attempt: int
    """1, or more when an earlier attempt died and this one took over."""
    seed: UUID
    replayed_by: str = field(default="", kw_only=True)
    """Who of the staff has sent the request again; empty for its client."""
    dry_run: bool = field(default=False, kw_only=True)
    """Whether all that the view writes is rolled back whatever it answers."""

    def derive(self, step: str) -> str:
        """
        A UUID (36 characters) for one step, the same in every attempt at this request: send it to a gateway as its key.

        Without a key it is the same within this request only.
        """
        return keys.derive(self.seed, step)
