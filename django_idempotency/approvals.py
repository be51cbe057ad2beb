"""
Acts that need a second person: asked for by one, done when another one agrees. Which they are, the setting APPROVALS says.

1. Nobody approves what they have asked for: a constraint of the database refuses it, whatever the code does.
2. What is done is what was asked for. It is frozen with a digest under SECRET_KEY, which is compared again when it is done;
   and it says what its requester saw, so that it is refused where that has moved meanwhile.
3. An approval is used up in the transaction that does the act: of two who approve at once, one is told, and the act is done
   once. An act that is refused leaves it as it was.
4. After VALID nobody can approve it any more.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .audit import Actor, among, canonical, home, record_event, refuse_empty
from .backends.db.batches import now
from .core.acts import Act
from .encryption import KeyLost, opened, sealed
from .models import IdempotencyApproval
from .outbox.rows import sealing_keys
from .resolution import ACTS, NotFound, NotGranted, Unreadable
from .resolution.acts import Asked, one_transaction
from .resolution.grants import digests
from .resolution.refusals import NeedsApproval

VALID = timedelta(days=1)
"""How long what was asked for can be approved."""

State = IdempotencyApproval.State

SAME_PERSON = gettext_lazy("You have asked for it yourself. Another person has to approve it.")
NOBODY = gettext_lazy("Only a user who is logged in can approve.")
DECIDED = gettext_lazy("It is decided already: {state}.")
FASTER = gettext_lazy("Somebody else has just decided it. Look at it again.")
LATE = gettext_lazy("Nobody has approved it in time. Ask for it again.")


def request(needs: NeedsApproval) -> IdempotencyApproval:
    """Ask for an act that was refused because it needs a second person."""
    asked, row, using = needs.asked, needs.row, needs.using
    arguments, key_id = sealed(canonical(asked.arguments).encode(), sealing_keys())
    said: dict[str, Any] = {"record_id": asked.record_id, "incident_id": asked.incident_id}
    with one_transaction(using):
        approval = IdempotencyApproval._base_manager.using(using).create(
            **said,
            **{name: row[name] for name in ("namespace", "amount", "currency")},
            act=asked.act.value,
            arguments=arguments,
            arguments_key_id=key_id,
            digest=digests(asked)[0],
            state=State.REQUESTED,
            requester=asked.actor.name,
            requester_id=asked.actor.id,
            requested_at=now(using),
            expires_at=now(using) + VALID,
        )
        actor = replace(asked.actor, approval=approval.pk)
        record_event(actor, "request", using=using, after={"act": asked.act.value}, **said, **asked.words)
    return approval


def approve(approval_id: int, *, actor: Actor, using: str | None = None) -> None:
    """
    Agree to an act, and do it, in one transaction. Raises NotResolved; then nothing is done, and it still waits.
    """
    alias = using or home()
    found = _waiting(approval_id, alias, actor)
    if not actor.id:
        raise NotGranted(NOBODY)
    same_name = actor.name.strip().casefold() == found.requester.strip().casefold()
    if same_name or actor.id == found.requester_id:
        raise NotGranted(SAME_PERSON)
    with one_transaction(alias):
        _decide(found, alias, actor, State.APPROVED)
        _do(found, alias)
        # After the act has locked what it is about: to hold the head, and then wait for that, would be a deadlock.
        _record("approve", found, alias, actor)


def reject(approval_id: int, *, reason: str, actor: Actor, using: str | None = None) -> None:
    """Refuse an act that was asked for, or take it back. Raises NotResolved."""
    refuse_empty(reason=reason)
    alias = using or home()
    found = _waiting(approval_id, alias, actor)
    with one_transaction(alias):
        _decide(found, alias, actor, State.REJECTED)
        _record("reject", found, alias, actor, reason=reason)


def frozen(found: IdempotencyApproval) -> tuple[dict[str, Any], bool]:
    """What an act is to be done with, and whether that still is what was asked for. Raises Unreadable."""
    arguments = _arguments(found)
    about: dict[str, Any] = {"record_id": found.record_id, "incident_id": found.incident_id}
    asked = Asked(act=Act(found.act), actor=_requester(found), arguments=arguments, **about)
    return arguments, among(found.digest, digests(asked))


def _waiting(approval_id: int, alias: str, actor: Actor) -> IdempotencyApproval:
    """What waits for a second person. Raises NotResolved; what is late is marked so."""
    approvals = IdempotencyApproval._base_manager.using(alias)
    found = approvals.filter(pk=approval_id).first()
    if found is None:
        raise NotFound(_("There is no approval {id}.").format(id=approval_id))
    if found.state != State.REQUESTED:
        raise NotGranted(DECIDED.format(state=found.get_state_display()))
    if approvals.filter(pk=approval_id, expires_at__lte=now(alias)).exists():
        _expire(found, alias, actor)
        raise NotGranted(LATE)
    return found


def _expire(found: IdempotencyApproval, alias: str, actor: Actor) -> None:
    open_one = IdempotencyApproval._base_manager.using(alias).filter(pk=found.pk, state=State.REQUESTED)
    with one_transaction(alias):
        if open_one.update(state=State.EXPIRED):
            _record("expire", found, alias, actor)


def _decide(found: IdempotencyApproval, alias: str, actor: Actor, state: State) -> None:
    """Write down who has decided, and how. Raises NotGranted where somebody was faster."""
    open_one = IdempotencyApproval._base_manager.using(alias).filter(pk=found.pk, state=State.REQUESTED)
    who = {"approver": actor.name, "approver_id": actor.id}
    if not open_one.filter(expires_at__gt=now(alias)).update(state=state, decided_at=now(alias), **who):
        raise NotGranted(FASTER)


def _record(act: str, found: IdempotencyApproval, alias: str, actor: Actor, **said: Any) -> None:
    about = {"record_id": found.record_id, "incident_id": found.incident_id}
    after = {"act": found.act, "requester": found.requester}
    record_event(replace(actor, approval=found.pk), act, using=alias, after=after, **about, **said)


def _do(found: IdempotencyApproval, alias: str) -> None:
    """Do the act as it was frozen, in the name of whoever has asked for it."""
    subject: Any = found.record_id if found.record_id is not None else found.incident_id
    ACTS[Act(found.act)](subject, **_arguments(found), actor=_requester(found), using=alias)


def _requester(found: IdempotencyApproval) -> Actor:
    return Actor(name=found.requester, id=found.requester_id, approval=found.pk)


def _arguments(found: IdempotencyApproval) -> dict[str, Any]:
    try:
        stored = opened(bytes(found.arguments), found.arguments_key_id, sealing_keys())
    except KeyLost:
        raise Unreadable from None
    arguments: dict[str, Any] = json.loads(stored or b"{}")
    return arguments
