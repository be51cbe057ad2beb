"""An incident in words, for whoever has never seen one: what happened, what it means for the money, what to do."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .conf import get_policy, profiles
from .core.states import State
from .models import IdempotencyIncident, IdempotencyRecord
from .timelines import money, told

Kind = IdempotencyIncident.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    happened: str
    means: str
    """For the customer's money."""
    advice: str


def briefing(incident: IdempotencyIncident, record: IdempotencyRecord | None, *, begun: bool = False) -> Briefing:
    """
    What to know before anything is decided; `record` is what the key belongs to, as far as it is still there.

    `begun` says whether staff has begun to run what a mismatch has refused.
    """
    match incident.kind:
        case Kind.MISMATCH:
            written = _mismatch(incident, record, begun=begun)
        case Kind.UNKNOWN:
            written = _unknown(incident, record)
        case _:
            written = _dead(incident, record)
    if incident.healed_at is None:
        return written
    return Briefing(happened=written.happened, means=_closed(incident), advice=_("There is nothing left to do."))


def _mismatch(incident: IdempotencyIncident, record: IdempotencyRecord | None, *, begun: bool) -> Briefing:
    refused = ngettext(
        "Another request came under the same key and was refused.",
        "Other requests came under the same key and were refused, {number} times by now. Here is the first; what came later "
        "may differ.",
        incident.counter,
    ).format(number=incident.counter)
    if record and bytes(record.fingerprint).hex() == incident.request_fingerprint:
        return _let_in(incident, record, refused)
    first = _("The first one: {told}").format(told=told(record)) if record else _("The first one is not kept any more.")
    return Briefing(
        happened=f"{refused} {first}",
        means=_of_both(_amount(record), _amount(incident), begun=begun),
        advice=_(
            "Compare the two. Was only the first one meant, let it stand. Were both meant, see that the other one has not "
            "come again under another key, as most clients do; then run it under a key of its own, or record where it was "
            "settled. Does the client mix up its keys, put it down to the client."
        ),
    )


def _of_both(mine: str, other: str, *, begun: bool) -> str:
    if begun:
        return _(
            "The first one counts. Of the other one, staff has begun to run it under a key of its own: what has come of it, "
            "the history says."
        )
    if mine and other and mine != other:
        means = _("Only the first one counts, over {mine}. For the other one, over {other}, no money has moved.")
        return means.format(mine=mine, other=other)
    return _("For the other one nothing was done: no money has moved for it.")


def _let_in(incident: IdempotencyIncident, record: IdempotencyRecord, refused: str) -> Briefing:
    """The first one has failed, and the other one has come again under the key that was free."""
    since = _("The first one has given the key back since, and the other one came again and was let in: {told}")
    means = _("For the other one, over {amount}, that answer says what was booked.")
    return Briefing(
        happened=f"{refused} {since.format(told=told(record))}",
        means=means.format(amount=_amount(incident) or _("an unknown amount")),
        advice=_("Look at that answer: the other one is not to be run again. Close this as it fits."),
    )


def _dead(incident: IdempotencyIncident, record: IdempotencyRecord | None) -> Briefing:
    if incident.kind == Kind.FAILED:
        happened = ngettext(
            "It failed with {error}.", "It failed {number} times, the last time with {error}.", incident.counter
        ).format(number=incident.counter, error=incident.error or "?")
    else:
        happened = _("Whoever ran it died.")
    amount = _amount(incident) or _("an unknown amount")
    if record is not None:
        return Briefing(happened=f"{happened} {told(record)}", **_since(record, amount))
    if _may_be_forgotten(incident):
        return Briefing(
            happened=f"{happened} " + _("Its key may have been used since, and be forgotten again."),
            means=_("Nothing here knows any more what was booked of {amount}.").format(amount=amount),
            advice=_("Look for it in the books and at the gateway, then record where it was settled."),
        )
    return Briefing(
        happened=f"{happened} " + _("The key is free: what it wrote to this database was undone."),
        means=_(
            "{amount} was not booked here. What its view had sent elsewhere before, such as a charge, may have happened."
        ).format(amount=_amount(incident) or _("An unknown amount")),
        advice=_(
            "Look at the gateway first. If nothing happened there, wait for the client to try again, which closes this by "
            "itself, or run it again. If it was settled in another way, record where."
        ),
    )


def _since(record: IdempotencyRecord, amount: str) -> dict[str, str]:
    """What it means, and what to do, once the key of what has failed is in use again."""
    match State(record.state):
        case State.PROCESSING:
            means = _("It is being tried again: what becomes of {amount} is not known yet.")
            advice = _(
                "Wait a moment, then look at it again. If it stays like this, look at the request to which the key belongs."
            )
        case State.UNKNOWN:
            means = _("It was tried again, and {amount} may have been taken, or not.")
            advice = _(
                "Look at the request to which the key belongs: its outcome has to be found out, and recorded there."
            )
        case _:
            means = _("Its key has been answered since: what was booked of {amount}, that answer says.")
            advice = _("Look at that answer. There is nothing to run again; upkeep closes this.")
    return {"means": means.format(amount=amount), "advice": advice}


def _may_be_forgotten(incident: IdempotencyIncident) -> bool:
    """Whether its key may have been used and forgotten since it was last seen, by the rules of its namespace."""
    policies = [policy for policy in map(get_policy, profiles()) if policy.namespace == incident.namespace]
    kept = min(policy.retention + policy.tombstone for policy in policies or [get_policy()])
    return incident.last_seen <= timezone.now() - kept


def _unknown(incident: IdempotencyIncident, record: IdempotencyRecord | None) -> Briefing:
    if record is None or record.state != State.UNKNOWN.value:
        return Briefing(
            happened=_("Nobody knew whether it took effect. Its outcome is known by now."),
            means=told(record) if record else _("The request itself is not kept any more."),
            advice=_("If nothing else is to be done, close it."),
        )
    return Briefing(
        happened=told(record),
        means=_("{amount} may have been taken, or not. Until somebody finds out, every retry is refused.").format(
            amount=_amount(incident) or _("An unknown amount")
        ),
        advice=_(
            "Look it up at the gateway or the bank, and record the outcome with its evidence. This is closed with it."
        ),
    )


def _closed(incident: IdempotencyIncident) -> str:
    if not incident.decision:
        of_person = incident.kind == Kind.UNKNOWN
        recorded = _("A person has recorded what became of it, or has let it go on.")
        return recorded if of_person else _("Its key has been answered since.")
    decision = incident.get_decision_display()
    if incident.reference:
        return _("It was decided: {decision} ({reference}).").format(decision=decision, reference=incident.reference)
    return _("It was decided: {decision}.").format(decision=decision)


def _amount(found: IdempotencyIncident | IdempotencyRecord | None) -> str:
    return money(found.amount, found.currency) if found else ""
