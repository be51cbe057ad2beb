"""What can be run again: a dead request's record, what has failed or was abandoned, and the other payload of a mismatch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..audit import events_in
from ..backends.db.dialects import Records
from ..core import keys
from ..core.acts import Act
from ..core.states import State
from ..maintenance import CHOSEN, ago, records_in
from ..models import IdempotencyIncident
from .acts import Row
from .incidents import CLOSED, COLUMNS, COMPLETED, OF_ANOTHER_KIND, OF_ITSELF, RECORD_FIRST, refuse_used
from .records import dead, in_flight, locked
from .refusals import Moved, NotFound, TooLate, WrongState
from .stored import OF_REQUEST

Kind, Decision = IdempotencyIncident.Kind, IdempotencyIncident.Decision

OF_STORED = (*OF_REQUEST, "fingerprint", "request_fingerprint")

NOT_FAILED = gettext_lazy("Nothing under {id} waits to be run again.")
NO_FINGERPRINT = gettext_lazy(
    "Its fingerprint is not stored, so nobody knows whether what is stored is what was asked. Only its client can send it "
    "again."
)
LET_IN = gettext_lazy(
    "It has come again since, when the key was free, and was let in: what the key belongs to now is this very request."
)
SEVERAL = gettext_lazy("Several requests have failed under this key. Say which: give the number of the incident.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A stored request, and how it was found."""

    row: Row
    """The columns of the record or the incident, without what the request holds."""
    request: Row = field(repr=False)
    key: str
    """Under which it is sent."""
    record_id: UUID
    """Under which it runs."""
    incident_id: int | None
    fingerprint: bytes
    """The request that it has to come out as."""
    seen: int
    """The claim of the record, or the counter of the incident."""
    alias: str
    lock: Callable[[], None]
    """In a transaction: makes sure that it still is as it was found. Raises NotResolved."""
    refuse_old: Callable[[timedelta], None]
    """Raises TooLate where more than the time for which its key is remembered has passed."""

    @property
    def about(self) -> dict[str, Any]:
        """What an act says that it is about."""
        return {"incident_id": self.incident_id} if self.incident_id is not None else {"record_id": self.record_id}


def of_replay(found: UUID | int, seen: int | None, using: str | None) -> Subject:
    """
    The request of a record in flight whose owner has died, or of an incident; of a record that is gone, that of its one
    open incident. Raises NotResolved.
    """
    records = records_in(using)
    if isinstance(found, UUID):
        row = records.filter(id=found).values(*CHOSEN, *OF_REQUEST).first()
        if row is not None:
            return _of_record(records, dict(row), seen)
        found = _only_incident(records, found)
    return _of_incident(records, found, seen)


def of_mismatch(incident_id: int, seen: int | None, using: str | None) -> Subject:
    """
    The refused payload of a mismatch, under a key of its own: always the one that it was given first. Raises NotResolved.
    """
    records = records_in(using)
    incidents, row, request = _incident(records, incident_id, seen)
    if row["kind"] != Kind.MISMATCH:
        raise WrongState(OF_ANOTHER_KIND)
    if row["decision"] not in ("", Decision.RUN):
        raise WrongState(CLOSED)
    if not request["request_fingerprint"]:
        raise WrongState(NO_FINGERPRINT)
    asked = bytes.fromhex(request["request_fingerprint"])
    _refuse_let_in(records, row["record_id"], asked)
    earlier = _earlier(records, row)
    key = _key_of(earlier) or str(uuid4())

    def lock() -> None:
        as_seen = incidents.filter(decision=row["decision"], reference=row["reference"])
        _hold(as_seen, row)
        _refuse_let_in(records, row["record_id"], asked)
        # Whoever was faster has given it a key, and may be running it.
        if _key_of(_earlier(records, row)) not in ("", key):
            raise Moved

    def refuse_old(remembered: timedelta) -> None:
        before = ago(records, remembered)
        if earlier and events_in(records.db).filter(sequence=earlier.sequence, at__lte=before).exists():
            raise TooLate

    return Subject(
        row=row,
        request=request,
        key=key,
        record_id=keys.record_id(row["namespace"], row["scope"], key),
        incident_id=incident_id,
        fingerprint=asked,
        seen=row["counter"],
        alias=records.db,
        lock=lock,
        refuse_old=refuse_old,
    )


def _of_record(records: Records, row: Row, seen: int | None) -> Subject:
    if row["state"] in (State.COMPLETED.value, State.TOMBSTONE.value):
        raise WrongState(COMPLETED)
    if row["state"] == State.UNKNOWN.value:
        raise WrongState(RECORD_FIRST)
    if seen is not None and seen != row["claim"]:
        raise Moved
    in_flight(records, row["id"], row["claim"])

    def lock() -> None:
        locked(dead(records, row))

    return Subject(
        row={name: value for name, value in row.items() if name not in OF_REQUEST},
        request={name: row[name] for name in OF_REQUEST},
        key=row["key"],
        record_id=row["id"],
        incident_id=None,
        fingerprint=bytes(row["fingerprint"]),
        seen=row["claim"],
        alias=records.db,
        lock=lock,
        refuse_old=_by(records.filter(id=row["id"]), records, "claimed_at"),
    )


def _only_incident(records: Records, record_id: UUID) -> int:
    incidents = IdempotencyIncident._base_manager.using(records.db)
    waiting = incidents.filter(record_id=record_id, kind__in=OF_ITSELF, healed_at=None)
    found = list(waiting.values_list("pk", flat=True)[:2])
    if not found:
        raise NotFound(NOT_FAILED.format(id=record_id))
    if len(found) > 1:
        raise WrongState(SEVERAL)
    return int(found[0])


def _of_incident(records: Records, incident_id: int, seen: int | None) -> Subject:
    incidents, row, request = _incident(records, incident_id, seen)
    if row["kind"] not in OF_ITSELF:
        raise WrongState(OF_ANOTHER_KIND)
    if row["healed_at"] is not None:
        raise WrongState(CLOSED)
    refuse_used(records, row["record_id"])

    def lock() -> None:
        _hold(incidents.filter(healed_at=None), row)

    return Subject(
        row=row,
        request=request,
        key=row["key"],
        record_id=row["record_id"],
        incident_id=incident_id,
        fingerprint=bytes.fromhex(request["fingerprint"]),
        seen=row["counter"],
        alias=records.db,
        lock=lock,
        refuse_old=_by(incidents, records, "last_seen"),
    )


def _incident(records: Records, incident_id: int, seen: int | None) -> tuple[Any, Row, Row]:
    """The incident as a query, its columns, and what it has stored of the request."""
    incidents = IdempotencyIncident._base_manager.using(records.db).filter(pk=incident_id)
    found = incidents.values(*COLUMNS, *OF_STORED).first()
    if found is None:
        raise NotFound(_("There is no incident {id}.").format(id=incident_id))
    if seen is not None and seen != found["counter"]:
        raise Moved
    return incidents, {name: found[name] for name in COLUMNS}, {name: found[name] for name in OF_STORED}


def _hold(incidents: Any, row: Row) -> None:
    """Lock an incident that has not happened again. Raises Moved."""
    # By writing: what was only read, somebody else may be about to change.
    if not incidents.filter(counter=row["counter"]).update(counter=row["counter"]):
        raise Moved


def _refuse_let_in(records: Records, record_id: UUID, asked: bytes) -> None:
    """Raises WrongState where the refused request itself has got the key, which the first one had to give back."""
    holder = records.filter(id=record_id).values_list("fingerprint", flat=True).first()
    if holder is not None and bytes(holder) == asked:
        raise WrongState(LET_IN)


def _by(rows: Any, records: Records, column: str) -> Callable[[timedelta], None]:
    def refuse_old(remembered: timedelta) -> None:
        if rows.filter(**{f"{column}__lte": ago(records, remembered)}).exists():
            raise TooLate

    return refuse_old


def _earlier(records: Records, row: Row) -> Any:
    """The event of an earlier run of this payload: the audit forgets nothing, whatever was decided since."""
    runs = events_in(records.db).filter(record_id=row["record_id"], incident_id=row["id"], act=Act.RUN_REFUSED.value)
    return runs.order_by("sequence").first()


def _key_of(event: Any) -> str:
    return str(json.loads(event.after)["key"]) if event else ""
