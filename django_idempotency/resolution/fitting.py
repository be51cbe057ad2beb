"""Which acts fit a record or an incident, and why one would be refused now. Looking changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ..audit import Actor
from ..core.acts import Act
from ..core.states import State
from ..maintenance import records_in
from ..models import IdempotencyIncident, IdempotencyRecord
from .acts import Asked
from .answers import destination
from .grants import policies_of
from .incidents import KINDS, refuse_unfit
from .records import in_flight
from .refusals import NotResolved
from .replays import refuse_not_dry
from .routes import route
from .sending import prepared
from .subjects import of_mismatch, of_replay
from .unknowns import refuse_known

Kind = IdempotencyIncident.Kind

OF_CALL = (Act.APPROVED, Act.DECLINED, Act.RETURNED, Act.NEVER_HAPPENED, Act.GO_ON)
OF_VIEW = (Act.HAPPENED, Act.NEVER_HAPPENED)


def of_record(record: IdempotencyRecord) -> tuple[Act, ...]:
    """The acts that fit the state of a record. Each may still be refused: somebody may be at work on it."""
    match State(record.state):
        case State.UNKNOWN:
            return OF_CALL if record.operation else OF_VIEW
        case State.COMPLETED:
            wanted = any(policy.callback is not None for policy in policies_of(record.namespace))
            return (Act.POST_ANSWER,) if wanted else ()
        case State.PROCESSING if not record.operation and record.token == 0 and record.lease_until is None:
            return (Act.RELEASE, *_again(record))
    return ()


def of_incident(incident: IdempotencyIncident) -> tuple[Act, ...]:
    """The acts that fit an incident. Of an unknown outcome, what fits its record is to be done first."""
    if incident.healed_at is not None:
        return ()
    fitting = tuple(act for act, kinds in KINDS.items() if incident.kind in kinds)
    state = records_in(incident._state.db).filter(id=incident.record_id).values_list("state", flat=True).first()
    match incident.kind:
        case Kind.MISMATCH:
            return (*fitting, Act.RUN_REFUSED) if incident.request_whole else fitting
        case Kind.UNKNOWN:
            return () if state == State.UNKNOWN.value else fitting
    # Its key may be in use again.
    return (*_again(incident), *fitting) if state is None else (Act.CLOSE,)


def refusal(act: Act, found: UUID | int, *, seen: int, actor: Actor, using: str | None = None) -> NotResolved | None:
    """Why an act on a record or an incident would be refused now; None where nothing is known against it."""
    try:
        _look(Asked(act=act, actor=actor, arguments={}), found, seen, using)
    except NotResolved as why:
        return why
    return None


def _look(asked: Asked, found: Any, seen: int, using: str | None) -> None:
    """Raises NotResolved."""
    match asked.act:
        case Act.REPLAY | Act.DRY_RUN | Act.RUN_REFUSED:
            find = of_mismatch if asked.act is Act.RUN_REFUSED else of_replay
            policies = prepared(find(found, seen, using), asked)[1]
            if asked.act is Act.DRY_RUN:
                refuse_not_dry(policies)
        case Act.RELEASE:
            in_flight(records_in(using), found, seen)
        case Act.POST_ANSWER:
            destination(found, using)
        case act if act in KINDS:
            refuse_unfit(act, found, seen, using)
        case _:
            refuse_known(records_in(using), found, seen)


def _again(stored: IdempotencyRecord | IdempotencyIncident) -> tuple[Act, ...]:
    """What runs a stored request again, where all of it is stored and there is a view for it."""
    if not stored.request_whole:
        return ()
    try:
        _view, policies = route({"path": stored.path, "namespace": stored.namespace}, stored._state.db or "default")
    except NotResolved:
        return ()
    return (Act.REPLAY, Act.DRY_RUN) if all(policy.dry_run for policy in policies) else (Act.REPLAY,)
