"""
One act on several records or incidents, each through the same function as alone, with its own check and its own event.

1. What is done is what was chosen, one by one, as it was seen then; never what a filter finds by now.
2. What a row says is committed with its act. So a row whose process has died is as it was before, and whoever goes on does
   it once. Only what is sent cannot be taken back: such a row is begun first, once, whoever carries it out, and stays begun
   where its process has died: nobody guesses what became of it.
3. What needs a second person is asked for, row by row.
4. Whoever may do the act can stop it: then no other row is begun.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _

from . import approvals
from .audit import Actor, refuse_empty
from .backends.db.batches import now
from .core.acts import Act
from .models import IdempotencyBulk, IdempotencyBulkRow, IdempotencyIncident, IdempotencyRecord
from .resolution import ACTS, Answer, NeedsApproval, NotResolved
from .resolution.fitting import refusal
from .resolution.grants import needed

logger = logging.getLogger("django_idempotency")

MOST = 100
"""Rows of one bulk act."""
OF_RECORDS = (Act.RELEASE, Act.REPLAY)
OF_INCIDENTS = (Act.REPLAY, Act.STANDS, Act.CLIENT_ERROR, Act.CLOSE)
SENDING = (Act.REPLAY,)
"""What leaves the transaction in which it is asked for."""
SEEN = {Act.RELEASE: "claim", Act.REPLAY: "seen"}
"""What an act calls that which was seen; the others call it the counter."""

Stored = IdempotencyRecord | IdempotencyIncident
State = IdempotencyBulkRow.State
CHANGED = (State.DONE, State.ASKED)
"""What comes of an act that has written something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One row, before anything is done."""

    found: Stored
    against: NotResolved | None
    """Why it would be refused now."""
    second_person: bool

    @property
    def seen(self) -> int:
        return seen_of(self.found)


def seen_of(found: Stored) -> int:
    """What changes when somebody, or a request, was at it."""
    return found.claim if isinstance(found, IdempotencyRecord) else found.counter


def planned(act: Act, chosen: Iterable[Stored], *, actor: Actor) -> list[Planned]:
    """What an act would come to for each. Nothing is changed."""
    return [
        Planned(
            found=found,
            against=refusal(act, found.pk, seen=seen_of(found), actor=actor, using=found._state.db),
            second_person=needed(act, vars(found)),
        )
        for found in chosen
    ]


def begin(
    act: Act, chosen: Sequence[Stored], seen: dict[Any, int], *, reason: str, actor: Actor, using: str
) -> IdempotencyBulk:
    """
    Write down what is to be done, for carry_out(). `seen` says by id what was shown to whoever has chosen.

    Raises ValueError without a reason, and for none or too many.
    """
    refuse_empty(reason=reason)
    if not 0 < len(chosen) <= MOST:
        raise ValueError(_("Choose one at least, and {most} at most.").format(most=MOST))
    with transaction.atomic(using=using):
        bulk = IdempotencyBulk._base_manager.using(using).create(
            act=act.value,
            reason=reason,
            requester=actor.name,
            requester_id=actor.id,
            address=actor.address,
            language=get_language() or "",
            requested_at=now(using),
        )
        rows = [_row(bulk, found, seen[found.pk]) for found in chosen]
        IdempotencyBulkRow._base_manager.using(using).bulk_create(rows)
    return bulk


def carry_out(bulk_id: int, *, seconds: float, using: str) -> bool:
    """Do what has not been begun, for so many seconds, and one row at least; whether there is more to do."""
    bulk = IdempotencyBulk._base_manager.using(using).get(pk=bulk_id)
    deadline = time.monotonic() + seconds
    with override(bulk.language or None):
        while (row := _next(bulk, using)) is not None:
            _carry_out(bulk, row, using)
            if time.monotonic() >= deadline:
                return _next(bulk, using) is not None
    return False


def stop(bulk_id: int, *, actor: Actor, using: str) -> None:
    """Begin no other row. What is begun ends by itself."""
    going = IdempotencyBulk._base_manager.using(using).filter(pk=bulk_id, stopped_at=None)
    going.update(stopped_at=now(using), stopped_by=actor.name)


def _row(bulk: IdempotencyBulk, found: Stored, seen: int) -> IdempotencyBulkRow:
    about = {"record_id": found.pk} if isinstance(found, IdempotencyRecord) else {"incident_id": found.pk}
    money = {"amount": found.amount, "currency": found.currency}
    return IdempotencyBulkRow(bulk=bulk, seen=seen, key=found.key, **about, **money)


def _next(bulk: IdempotencyBulk, using: str) -> IdempotencyBulkRow | None:
    """The next row that nobody has begun; None where there is none, or it was stopped."""
    if not IdempotencyBulk._base_manager.using(using).filter(pk=bulk.pk, stopped_at=None).exists():
        return None
    rows = IdempotencyBulkRow._base_manager.using(using)
    return rows.filter(bulk_id=bulk.pk, state=State.WAITING).order_by("pk").first()


def _carry_out(bulk: IdempotencyBulk, row: IdempotencyBulkRow, using: str) -> None:
    if Act(bulk.act) in SENDING:
        if _begun(row, using):
            _finish(row, State.BEGUN, _done(bulk, row, using), using)
        return
    with transaction.atomic(using=using):
        if not _begun(row, using):
            return
        said = _done(bulk, row, using)
        if said["state"] in CHANGED:
            _finish(row, State.BEGUN, said, using)
            return
        # Nothing was changed; and after a deadlock there may be no transaction any more to write in.
        transaction.set_rollback(True, using=using)
    _finish(row, State.WAITING, said, using)


def _begun(row: IdempotencyBulkRow, using: str) -> bool:
    """Whether the row is ours: of two at once, one has it. In a transaction, the other one waits for its end."""
    waiting = IdempotencyBulkRow._base_manager.using(using).filter(pk=row.pk, state=State.WAITING)
    return bool(waiting.update(state=State.BEGUN))


def _done(bulk: IdempotencyBulk, row: IdempotencyBulkRow, using: str) -> dict[str, Any]:
    """Do the act on one; what its row says then."""
    actor = Actor(name=bulk.requester, id=bulk.requester_id, address=bulk.address)
    act, found = Act(bulk.act), row.record_id if row.record_id is not None else row.incident_id
    said: Any = {"reason": bulk.reason, SEEN.get(act, "counter"): row.seen}
    try:
        return _came_to(_ask_or_do(act, found, said, actor=actor, using=using))
    except NotResolved as why:
        return {"state": State.REFUSED, "said": str(why)}
    except Exception as exc:
        logger.exception("A row of the bulk act %s has failed.", bulk.pk)
        return {"state": State.FAILED, "said": type(exc).__name__}


def _ask_or_do(act: Act, found: UUID | int | None, said: Any, *, actor: Actor, using: str) -> Any:
    try:
        return ACTS[act](found, **said, actor=actor, using=using)
    except NeedsApproval as needs:
        return approvals.request(needs).pk


def _came_to(outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, int):
        return {"state": State.ASKED, "approval_id": outcome}
    if isinstance(outcome, Answer):
        said = _("Answered {status}.").format(status=outcome.status)
        if outcome.left:
            said = _("Answered {status}, and its outcome is not known.").format(status=outcome.status)
        return {"state": State.DONE if outcome.kept else State.FAILED, "said": said}
    return {"state": State.DONE}


def _finish(row: IdempotencyBulkRow, before: State, said: dict[str, Any], using: str) -> None:
    """Write down what has become of a row, unless somebody else has done so since."""
    IdempotencyBulkRow._base_manager.using(using).filter(pk=row.pk, state=before).update(**said)
