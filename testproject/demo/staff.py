"""What the members of staff have done about the day, through the same functions as the pages of the admin."""

from collections.abc import Mapping

from django.contrib.auth.models import User

from django_idempotency import approvals, resolution
from django_idempotency.models import IdempotencyIncident

from .trouble import Trouble

ADDRESSES = {"oncall": "10.4.0.17", "finance": "10.4.0.23"}

Found = Mapping[str, Trouble]


def see_to_it(found: Found) -> None:
    """Some of it; the rest is for whoever explores."""
    _on_call(found)
    _finance(found)


def _on_call(found: Found) -> None:
    oncall = _member("oncall")
    _assign(found["bill"], oncall)
    returned = _incident(found["returned"])
    reason = "the gateway is back, and the customer waits for the money"
    resolution.replay(returned.pk, seen=returned.counter, reason=reason, actor=oncall)


def _finance(found: Found) -> None:
    finance = _member("finance")
    cure, novel, repair = (_incident(found[name]) for name in ("cure", "novel", "repair"))
    resolution.reveal_incident(cure.pk, reason="ticket 8114: which amount did she see?", actor=finance)
    reason = "ticket 8114: the patient has come once, and says so"
    resolution.original_stands(cure.pk, counter=cure.counter, reason=reason, actor=finance)
    reason = "the shop's program has changed the currency under the same key: told its makers"
    resolution.client_error(novel.pk, counter=novel.counter, reason=reason, actor=finance)
    _assign(found["kiosk"], finance)
    _assign(found["repair"], finance)
    settled = {"reference": "transfer 2026-0417", "reason": "the garage has sent a bill for the difference"}
    try:
        resolution.settled_outside(repair.pk, counter=repair.counter, actor=finance, **settled)
    except resolution.NeedsApproval as needs:
        approvals.request(needs)


def _member(name: str) -> resolution.Actor:
    user = User.objects.get(username=name)
    return resolution.Actor(name=name, id=str(user.pk), address=ADDRESSES[name])


def _incident(trouble: Trouble) -> IdempotencyIncident:
    return IdempotencyIncident.objects.get(key=trouble.key, healed_at=None)


def _assign(trouble: Trouble, to: resolution.Actor) -> None:
    resolution.assign(_incident(trouble).pk, to=to, seen="", actor=to)
