"""One request on behalf of its client: made sure of, sent, and judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

from ..core.acts import Act
from ..core.engine import Completed, Refused, Replay
from ..core.policies import Policy
from ..exceptions import InFlight
from ..maintenance import records_in
from ..models import IdempotencyIncident, IdempotencyRecord
from ..on_behalf import OnBehalf
from ..principals import NoPrincipal, principal_of
from ..signals import resolved
from .accounts import Account, carried_out
from .acts import Asked
from .incidents import OF_ITSELF
from .refusals import NotSent, StillRunning, WrongState
from .routes import route
from .serving import Answer, Prepared, serve
from .stored import environ, refuse_incomplete
from .subjects import Subject

NO_PRINCIPAL = gettext_lazy(
    "Nobody has the scope {scope} any more, or may use it: the account was deleted or closed, or PRINCIPAL does not know it."
)
NOT_REACHED = gettext_lazy(
    "It has not come to its view: what is in front of it has answered {status}. See to that first: a permission, a limit, a "
    "page for maintenance."
)


def prepared(subject: Subject, asked: Asked, *, dry_run: bool = False) -> tuple[Prepared, list[Policy]]:
    """The request, ready to be sent, and the rules of its view. Raises NotResolved."""
    row = {**subject.row, **subject.request}
    refuse_incomplete(row)
    view, policies = route(row, subject.alias)
    subject.refuse_old(min(policy.retention + policy.tombstone for policy in policies))
    principal, auth = _principal(row, policies)
    behalf = OnBehalf(by=asked.actor.name, id=subject.record_id, fingerprint=subject.fingerprint, dry_run=dry_run)
    sent = environ(row, subject.key, policies)
    return Prepared(environ=sent, view=view, principal=principal, auth=auth, behalf=behalf), policies


def _principal(row: dict[str, Any], policies: Iterable[Policy]) -> tuple[Any, Any]:
    # The scope of an event that is delivered says which endpoint it was sent to, too.
    scope = row["scope"].removesuffix("@" + row["path"].partition("?")[0])
    try:
        return principal_of(scope, next(iter(policies)))
    except NoPrincipal:
        raise WrongState(NO_PRINCIPAL.format(scope=row["scope"])) from None


def send(asked: Asked, subject: Subject, prepared: Prepared) -> Answer | None:
    """
    What is answered; None under an approval, where it is sent when the approval is committed. Raises NotResolved.
    """

    def begin() -> dict[str, Any]:
        subject.lock()
        return {"key": subject.key} if asked.act is Act.RUN_REFUSED else {}

    def end(answer: Answer) -> dict[str, Any]:
        if answer.kept:
            _close(subject)
            transaction.on_commit(partial(_tell, asked, subject), using=subject.alias, robust=True)
        said = {"status": answer.status, "ran": answer.ran, "kept": answer.kept, "record": str(subject.record_id)}
        return {**said, "state": answer.left} if answer.left else said

    account = Account(asked=asked, row=subject.row, alias=subject.alias)
    return carried_out(account, begin=begin, work=lambda: _left(subject, prepared), end=end)


def _left(subject: Subject, prepared: Prepared) -> Answer:
    """The answer, and what its record is in where it was not kept: of what was done nobody may know the outcome."""
    answer = _judged(prepared.behalf, serve(prepared))
    if answer.kept or prepared.behalf.dry_run:
        return answer
    state = records_in(subject.alias).filter(id=subject.record_id).values_list("state", flat=True).first()
    return replace(answer, left=state or "")


def _judged(behalf: OnBehalf, answer: Answer) -> Answer:
    """The answer with what has become of it. Raises NotResolved where nothing has begun, and there is no answer either."""
    if behalf.fault:
        raise NotSent(behalf.fault)
    if behalf.outcome is None and not behalf.began:
        raise NotSent(NOT_REACHED.format(status=answer.status))
    match behalf.outcome:
        case Completed():
            return replace(answer, kept=True)
        case Replay():
            return replace(answer, ran=False, kept=True)
        case Refused(InFlight()) if not behalf.began:
            raise StillRunning
        case Refused(error) if not behalf.began:
            raise NotSent(error.detail)
    return answer


def _close(subject: Subject) -> None:
    """What has failed under this key has come to its answer now; so has what was refused under another one."""
    incidents, now = IdempotencyIncident._base_manager.using(subject.alias), timezone.now()
    incidents.filter(record_id=subject.record_id, kind__in=OF_ITSELF, healed_at=None).update(healed_at=now)
    if subject.row.get("kind") == IdempotencyIncident.Kind.MISMATCH:
        run = IdempotencyIncident.Decision.RUN
        # Never what somebody else has decided.
        undecided = incidents.filter(pk=subject.row["id"], decision__in=("", run))
        undecided.update(healed_at=now, decision=run, reference=subject.key)


def _tell(asked: Asked, subject: Subject) -> None:
    of_record = subject.incident_id is None
    resolved.send_robust(
        IdempotencyRecord if of_record else IdempotencyIncident,
        record=subject.row if of_record else None,
        incident=None if of_record else subject.row,
        how=asked.act.value,
        actor=asked.actor,
        **asked.words,
    )
