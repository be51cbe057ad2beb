"""What a person decides about an incident: whose work it is, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..audit import Actor, events_in, record_event, refuse_empty
from ..backends.db.dialects import Records
from ..core.acts import Act
from ..core.states import State
from ..maintenance import ago, records_in
from ..models import IdempotencyIncident
from .accounts import ENDED
from .acts import Asked, Row, done, one_transaction
from .refusals import Moved, NotFound, StillRunning, WrongState

Kind = IdempotencyIncident.Kind

OF_ITSELF = (Kind.FAILED, Kind.ABANDONED)
"""Kinds that close by themselves when the client tries again."""
KINDS: dict[Act, Collection[Kind]] = {
    Act.STANDS: (Kind.MISMATCH,),
    Act.CLIENT_ERROR: (Kind.MISMATCH,),
    Act.SETTLED: (Kind.MISMATCH, *OF_ITSELF),
    Act.CLOSE: (*OF_ITSELF, Kind.UNKNOWN),
}
"""What each act closes."""
LONGEST_REFERENCE = 200
LONGEST_RUN = timedelta(minutes=10)
"""For which a run that nobody has seen end is taken to be under way; then its process has died."""
CLOSED = gettext_lazy("It is closed already. Open it again, if there is more to do.")
OPEN = gettext_lazy("It is open already.")
OF_ANOTHER_KIND = gettext_lazy("An incident of this kind is settled in another way.")
RECORD_FIRST = gettext_lazy("Nobody knows its outcome yet. Record the outcome, and this is closed with it.")
COMPLETED = gettext_lazy(
    "It has completed, and the client's next retry gets its answer. Show the stored answer instead."
)
COLUMNS = (
    *("id", "kind", "record_id", "namespace", "scope", "key", "method", "path", "error", "amount", "currency"),
    *("counter", "first_seen", "last_seen", "healed_at", "assignee", "assignee_id", "decision", "reference"),
)


def original_stands(incident_id: int, *, counter: int, reason: str, actor: Actor, using: str | None = None) -> None:
    """
    Decide of a mismatch that the first request stands and the other one is dropped. Nothing is run, and nothing is undone.

    `counter` is the incident's as it was shown to whoever decides; it is refused where it has happened again since. Raises
    NotResolved.
    """
    said = {"counter": counter, "reason": reason}
    _settle(Act.STANDS, incident_id, said, actor=actor, using=using)


def client_error(incident_id: int, *, counter: int, reason: str, actor: Actor, using: str | None = None) -> None:
    """Decide of a mismatch that the client has a fault, which its makers have to mend. See original_stands()."""
    said = {"counter": counter, "reason": reason}
    _settle(Act.CLIENT_ERROR, incident_id, said, actor=actor, using=using)


def settled_outside(
    incident_id: int, *, counter: int, reference: str, reason: str, actor: Actor, using: str | None = None
) -> None:
    """
    Record that what was asked for has been settled in another way, under which `reference`. See original_stands().

    Of a mismatch, or of what has failed or was abandoned, and has not been tried again since. The key stays as it is.
    """
    if len(reference) > LONGEST_REFERENCE:
        raise ValueError(f"reference has {LONGEST_REFERENCE} characters at most.")
    said = {"counter": counter, "reference": reference, "reason": reason}
    _settle(Act.SETTLED, incident_id, said, actor=actor, using=using)


def close(incident_id: int, *, counter: int, reason: str, actor: Actor, using: str | None = None) -> None:
    """
    Close what needs nothing more: a failure, an abandoned request, or an unknown outcome that is known by now. See
    original_stands().
    """
    said = {"counter": counter, "reason": reason}
    _settle(Act.CLOSE, incident_id, said, actor=actor, using=using)


def reopen(incident_id: int, *, reason: str, actor: Actor, using: str | None = None) -> None:
    """Open an incident again that a person has closed, or that has healed. Raises NotResolved."""
    refuse_empty(reason=reason)
    incidents, row = _incident(incident_id, using)
    if row["healed_at"] is None:
        raise WrongState(OPEN)
    with one_transaction(incidents.db):
        again = incidents.filter(pk=incident_id, healed_at=row["healed_at"])
        _hit(again.update(healed_at=None, decision="", reference=""))
        before = {"decision": row["decision"], "reference": row["reference"]}
        _record("reopen", row, incidents.db, actor=actor, reason=reason, before=before, after={"decision": ""})


def assign(incident_id: int, *, to: Actor | None, seen: str, actor: Actor, using: str | None = None) -> None:
    """
    Say who sees to an incident; None: nobody in particular.

    `seen` is the name of whoever saw to it so far, as it was shown. Of two who take it at once, one is told. Raises Moved.
    """
    incidents, row = _incident(incident_id, using)
    if "\0" in seen:
        raise Moved  # Nobody's name has one, and no database takes it.
    name, user = (to.name, to.id) if to else ("", "")
    with one_transaction(incidents.db):
        _hit(incidents.filter(pk=incident_id, assignee=seen).update(assignee=name, assignee_id=user))
        before, after = {"assignee": seen}, {"assignee": name}
        _record("assign", row, incidents.db, actor=actor, before=before, after=after)


def refuse_unfit(act: Act, incident_id: int, counter: int, using: str | None) -> None:
    """Raises NotResolved where an incident that was seen with this counter cannot be closed by this act."""
    incidents, row = _incident(incident_id, using)
    _refuse(row, KINDS[act], incidents.db)
    if row["counter"] != counter:
        raise Moved
    _refuse_busy(act, row, incidents.db)


def _settle(act: Act, incident_id: int, said: dict[str, Any], *, actor: Actor, using: str | None) -> None:
    incidents, row = _incident(incident_id, using)
    _refuse(row, KINDS[act], incidents.db)
    asked = Asked(act=act, actor=actor, incident_id=incident_id, arguments=said)
    with done(asked, row, incidents.db) as after:
        closed = {"decision": act.value, "reference": said.get("reference", "")}
        as_seen = incidents.filter(pk=incident_id, counter=said["counter"], healed_at=None)
        _hit(as_seen.update(healed_at=timezone.now(), **closed))
        # Only now: whoever is to run it locks the incident first, and leaves the event that is looked for here.
        _refuse_busy(act, row, incidents.db)
        after.update(closed)


def _incident(incident_id: int, using: str | None) -> tuple[Any, Row]:
    """All incidents of the database, and the columns of this one. Raises NotFound."""
    incidents = IdempotencyIncident._base_manager.using(records_in(using).db)
    row = incidents.filter(pk=incident_id).values(*COLUMNS).first()
    if row is None:
        raise NotFound(_("There is no incident {id}.").format(id=incident_id))
    return incidents, dict(row)


def _refuse(row: Row, kinds: Collection[Kind], alias: str) -> None:
    if row["healed_at"] is not None:
        raise WrongState(CLOSED)
    if row["kind"] not in kinds:
        raise WrongState(OF_ANOTHER_KIND)
    waiting = records_in(alias).filter(id=row["record_id"], state=State.UNKNOWN.value)
    if row["kind"] == Kind.UNKNOWN and waiting.exists():
        raise WrongState(RECORD_FIRST)


def refuse_used(records: Records, record_id: UUID) -> None:
    """Raises NotResolved where the key of what has failed is in use again."""
    state = records.filter(id=record_id).values_list("state", flat=True).first()
    if state in (State.COMPLETED.value, State.TOMBSTONE.value):
        raise WrongState(COMPLETED)
    if state == State.UNKNOWN.value:
        raise WrongState(RECORD_FIRST)
    if state is not None:
        raise StillRunning


def _refuse_busy(act: Act, row: Row, alias: str) -> None:
    """Raises NotResolved where it is being run by staff, or what was settled otherwise by the client's retry, too."""
    of_mismatch = row["kind"] == Kind.MISMATCH
    run, about = (Act.RUN_REFUSED, {"incident_id": row["id"]}) if of_mismatch else (Act.REPLAY, {})
    runs = events_in(alias).filter(record_id=row["record_id"], **about)
    befores = runs.filter(act=run.value + ENDED).values_list("before", flat=True)
    ended = {json.loads(before)["event"] for before in befores}
    records = records_in(alias)
    begun = runs.filter(act=run.value, at__gt=ago(records, LONGEST_RUN)).values_list("sequence", flat=True)
    if not ended.issuperset(begun):
        raise StillRunning
    if act is Act.SETTLED and row["kind"] in OF_ITSELF:
        refuse_used(records, row["record_id"])


def _hit(rows: int) -> None:
    """Raises Moved where a statement has found nothing as it was seen."""
    if not rows:
        raise Moved


def _record(act: str, row: Row, alias: str, *, actor: Actor, **said: Any) -> None:
    record_event(actor, act, using=alias, incident_id=row["id"], record_id=row["record_id"], **said)
