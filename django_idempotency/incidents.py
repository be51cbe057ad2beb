"""
What the staff has to look at. Written beside the request path, never in the way of a request.

A failure is written in the transaction that releases its claim. Inside a transaction of the caller's, which may still be
rolled back, it waits for the end: for the commit, else for the end of the HTTP request. An incident that cannot be
written changes no answer.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import IntegrityError, connections, router, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from .conf import get_policy, profiles
from .core.engine import Claim, Operation
from .core.states import State
from .floods import Flood
from .models import IdempotencyIncident, IdempotencyRecord

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("django_idempotency")

Kind = IdempotencyIncident.Kind
Result = TypeVar("Result")

OF_RECORD = (
    *("namespace", "scope", "key", "method", "path", "amount", "currency"),
    *("request_headers", "request_body", "request_whole", "request_key_id"),
)
HEALING = (Kind.FAILED, Kind.ABANDONED)
# By vendor: what bounds the wait for a lock, and what lifts the bound again where the transaction's end does not.
BRIEFLY = {
    "postgresql": ("SET LOCAL lock_timeout = '1s'", ""),
    "mysql": (
        "SET @djidempotency_incident = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1",
        "SET SESSION innodb_lock_wait_timeout = @djidempotency_incident",
    ),
}
HEALED_AT_ONCE = 100
"""Incidents in one transaction of `heal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    kind: str
    record_id: UUID
    fingerprint: bytes
    columns: Mapping[str, Any]
    count: int = 1
    """How often it has happened since it was last written."""
    refused: tuple[bytes, ...] = ()
    """Of a mismatch: the fingerprints that the refused request may have been told by before."""


class _Undone(Exception):
    """The transaction is lost with all that was in it."""


def failure(claim: Claim) -> Incident | None:
    """What to tell of work that was not kept; None where that is an answer like any other, such as a 400."""
    ending = claim.ending
    return _of_operation(Kind.FAILED, claim.operation, ending.error or str(ending.status)) if ending.failed else None


def unknown(operation: Operation, why: str = "") -> Incident:
    """What to tell of work whose outcome nobody knows."""
    return _of_operation(Kind.UNKNOWN, operation, why[:200])


def left(kind: str, row: Mapping[str, Any]) -> Incident:
    """What to tell of a record that upkeep has found, by its columns."""
    columns = {name: row[name] for name in OF_RECORD if name in row}
    return Incident(kind=kind, record_id=row["id"], fingerprint=bytes(row["fingerprint"]), columns=columns)


def together(alias: str, incident: Incident | None, change: Callable[[], Result]) -> Result:
    """Change a record, and write the incident in the same transaction if the change has hit."""
    if incident is None:
        return change()
    try:
        with transaction.atomic(using=alias):
            hit = change()
            if hit:
                _write(alias, incident)
            if connections[alias].needs_rollback:
                raise _Undone
    except _Undone:
        # The incident has taken the change with it: a deadlock, on MariaDB. The change counts for more.
        return change()
    return hit


def report(alias: str, incident: Incident | None) -> bool:
    """Write an incident now, or when the caller's transaction has ended; False where it could not be written."""
    if incident is None:
        return True
    connection = connections[alias]
    if connection.in_atomic_block:
        _waiting.setdefault(connection, deque(maxlen=100)).append(incident)
        transaction.on_commit(partial(_write_waiting, connection), using=alias, robust=True)
        return True
    _write_waiting(connection)
    return _write(alias, incident)


def mismatch(alias: str, operation: Operation, *, alone: bool = False) -> None:
    """Tell of another payload under a taken key, beside the first one's unless `alone`; once in a while, in a flood."""
    if count := _flood.due(operation.id):
        told = _of_operation(Kind.MISMATCH, operation)
        columns = {**told.columns, "request_fingerprint": told.fingerprint.hex()}
        told = replace(told, columns=columns, count=count, refused=operation.fingerprints)
        report(alias, replace(told, fingerprint=b"") if alone else told)


def heal(*, database: str | None = None, limit: int = 1000, seconds: float = 20) -> int:
    """
    Close the failures and abandoned claims whose key has completed since; how many.

    In short transactions, and at most so many incidents and seconds: call it again for the rest. Two at once do no harm.
    """
    alias = database or get_policy("default").database or router.db_for_write(IdempotencyRecord)
    deadline, healed = time.monotonic() + seconds, 0
    while healed < limit and time.monotonic() < deadline:
        batch = min(limit - healed, HEALED_AT_ONCE)
        chosen = list(_healable(alias).order_by("pk").values_list("pk", flat=True)[:batch])
        # Asked again: it may have failed once more since, under a key that was free again.
        done = _healable(alias).filter(pk__in=chosen).update(healed_at=timezone.now())
        healed += done
        if not done:
            break
    return healed


def forgotten(alias: str) -> Any:
    """
    Those that nobody needs any more: healed, or without the record they are about, and last seen so long ago that every
    profile has forgotten a key of that time. A record of unknown outcome stays, perhaps in Redis, and so does its incident.
    """
    kept = max(policy.retention + policy.tombstone for policy in map(get_policy, profiles()))
    records = IdempotencyRecord._base_manager.using(alias).filter(pk=OuterRef("record_id"))
    old = IdempotencyIncident._base_manager.using(alias).filter(last_seen__lte=timezone.now() - kept)
    return old.filter(Q(healed_at__isnull=False) | (~Q(kind=Kind.UNKNOWN) & ~Exists(records)))


def purged(alias: str, batch_size: int) -> Iterator[int]:
    """Delete those, batch by batch; how many in each. The statement repeats what was asked: one may just happen again."""
    while chosen := list(forgotten(alias).order_by("pk").values_list("pk", flat=True)[:batch_size]):
        done = forgotten(alias).filter(pk__in=chosen)._raw_delete(alias)
        if not done:
            return
        yield done


def write_waiting(**_: Any) -> None:
    """For `request_finished`: whatever became of the request's transaction, it has ended."""
    for connection in connections.all(initialized_only=True) if _waiting else ():
        if connection in _waiting:
            _write_waiting(connection)
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()


def _of_operation(kind: str, operation: Operation, error: str = "") -> Incident:
    request = operation.request
    columns = {
        **{name: getattr(operation, name) for name in ("namespace", "scope", "key", "path")},
        "method": operation.method[:32],
        "error": error[:200],
        "request_headers": request.headers,
        "request_body": request.body,
        "request_whole": request.whole,
        "request_key_id": request.key_id,
        "amount": request.amount,
        "currency": request.currency,
    }
    return Incident(kind=kind, record_id=operation.id, fingerprint=operation.fingerprints[0], columns=columns)


# By connection: each belongs to one thread, and its transaction is the one that is waited for.
_waiting: WeakKeyDictionary[BaseDatabaseWrapper, deque[Incident]] = WeakKeyDictionary()


def _write_waiting(connection: BaseDatabaseWrapper) -> None:
    for incident in _waiting.pop(connection, ()):
        _write(connection.alias, incident)


def _write(alias: str, incident: Incident) -> bool:
    try:
        with transaction.atomic(using=alias), _briefly(connections[alias]):
            beside = incident.kind == Kind.MISMATCH and incident.fingerprint
            found = _with_first(alias, incident) if beside else incident
            if found:
                _upsert(alias, found)
    except Exception as exc:  # noqa: BLE001 - no answer changes; and the database's text may quote the row
        logger.error(  # noqa: TRY400
            "An incident (%s) of %s could not be written: %s.", incident.kind, incident.record_id, type(exc).__name__
        )
        return False
    return True


@contextmanager
def _briefly(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Wait for a lock no longer than a second: whoever holds an incident must not hold up an answer, or a release."""
    before, after = BRIEFLY.get(connection.vendor, ("", ""))
    with connection.cursor() as cursor:
        if before:
            cursor.execute(before)
        try:
            yield
        finally:
            if after:
                cursor.execute(after)


def _with_first(alias: str, incident: Incident) -> Incident | None:
    """
    A mismatch beside the request that the key belongs to; None where that is gone.

    It goes by that one's fingerprint: a flood of others, each different, is one row for as long as nobody decides.
    """
    parts = ("fingerprint", "request_headers", "request_body", "request_key_id")
    first = IdempotencyRecord._base_manager.using(alias).filter(pk=incident.record_id).values(*parts).first()
    if first is None:
        return None
    stored = {name.replace("request_", "first_"): value for name, value in first.items() if name != "fingerprint"}
    return replace(incident, fingerprint=bytes(first["fingerprint"]), columns={**incident.columns, **stored})


def _upsert(alias: str, incident: Incident) -> None:
    if _counted(alias, incident):
        return
    times = {"counter": incident.count, **dict.fromkeys(("first_seen", "last_seen"), timezone.now())}
    try:
        with transaction.atomic(using=alias):
            rows = IdempotencyIncident._base_manager.using(alias)
            rows.create(**_identity(alias, incident), **incident.columns, **times)
    except IntegrityError:
        # Somebody else was faster.
        _counted(alias, incident)


def _identity(alias: str, incident: Incident) -> dict[str, Any]:
    """What no other incident has: once a person has decided of one refused request, the next has a number of its own."""
    name = incident.fingerprint.hex()
    if incident.kind == Kind.MISMATCH:
        taken = {*_of_same(alias, incident).values_list("fingerprint", flat=True)}
        names = chain([name], (f"{name}.{number}" for number in count(1)))
        name = next(name for name in names if name not in taken)
    return {"record_id": incident.record_id, "kind": incident.kind, "fingerprint": name}


def _of_same(alias: str, incident: Incident) -> Any:
    """What was told of this record, kind and fingerprint; of a mismatch, perhaps of several refused requests."""
    rows = IdempotencyIncident._base_manager.using(alias).filter(record_id=incident.record_id, kind=incident.kind)
    name = incident.fingerprint.hex()
    if incident.kind != Kind.MISMATCH:
        return rows.filter(fingerprint=name)
    return rows.filter(Q(fingerprint=name) | Q(fingerprint__startswith=f"{name}."))


def _counted(alias: str, incident: Incident) -> int:
    """Count it where it is known. It is open again, unless a person has decided of this very refused request."""
    rows = _of_same(alias, incident)
    again = {"counter": F("counter") + incident.count, "last_seen": timezone.now()}
    undecided = {"healed_at": None, "error": incident.columns.get("error", ""), "decision": "", "reference": ""}
    if incident.kind == Kind.MISMATCH:
        same = Q(request_fingerprint__in=["", *(one.hex() for one in incident.refused)])
        if stays := rows.filter(~Q(decision=""), same).update(**again):
            return int(stays)
        rows = rows.filter(decision="")
    return int(rows.update(**again, **undecided))


def _healable(alias: str) -> Any:
    completed = IdempotencyRecord._base_manager.using(alias).filter(
        pk=OuterRef("record_id"), state__in=[State.COMPLETED.value, State.TOMBSTONE.value]
    )
    waiting = IdempotencyIncident._base_manager.using(alias).filter(kind__in=HEALING, healed_at=None)
    return waiting.filter(Exists(completed))


_flood = Flood()
