"""What happened to one request, in words: a few sentences, and what is known of when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.formats import localize, number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .core.states import State
from .currencies import DECIMALS, EXACT
from .models import IdempotencyEvent, IdempotencyIncident, IdempotencyRecord
from .models.records import never

Kind = IdempotencyIncident.Kind

ACTS = {
    "release": gettext_lazy("freed the key"),
    "approved": gettext_lazy("recorded that the call was approved"),
    "declined": gettext_lazy("recorded that the call was declined"),
    "returned": gettext_lazy("recorded what the call had returned"),
    "happened": gettext_lazy("recorded that it happened"),
    "never-happened": gettext_lazy("recorded that it never happened"),
    "go-on": gettext_lazy("let the operation go on"),
    "original-stands": gettext_lazy("let the first request stand"),
    "client-error": gettext_lazy("put it down to the client"),
    "settled-outside": gettext_lazy("settled it in another way"),
    "close": gettext_lazy("closed the incident"),
    "assign": gettext_lazy("assigned the incident"),
    "reopen": gettext_lazy("opened the incident again"),
    "reveal": gettext_lazy("looked at it unmasked"),
    "show-answer": gettext_lazy("looked at the stored answer"),
    # What has come of these, an event of its own says.
    "post-answer": gettext_lazy("began to send the stored answer to the client's address"),
    "dry-run": gettext_lazy("began to try what it would do"),
    "replay": gettext_lazy("began to run it again"),
    "run-refused": gettext_lazy("began to run the refused request under a key of its own"),
    "request": gettext_lazy("asked for a second person"),
    "approve": gettext_lazy("approved what another person had asked for"),
    "reject": gettext_lazy("rejected what another person had asked for"),
    "expire": gettext_lazy("found that nobody had approved in time what was asked for"),
}
ENDED = "-ended"
"""What the events are called that say what has come of it, after the name of the act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One moment of a request's life."""

    at: datetime
    what: str
    who: str = ""
    why: str = ""


def told(record: IdempotencyRecord, incidents: Iterable[IdempotencyIncident] = ()) -> str:
    """What happened, in a few sentences."""
    # That its outcome is unknown is said once.
    told_of = {Kind.UNKNOWN} if record.state == State.UNKNOWN.value else set()
    others = (_incident(record, incident) for incident in incidents if incident.kind not in told_of)
    return " ".join([_outcome(record), *_attempts(record), *others])


def timeline(
    record: IdempotencyRecord,
    incidents: Iterable[IdempotencyIncident] = (),
    events: Iterable[IdempotencyEvent] = (),
) -> list[Entry]:
    """What is known of when something happened, or will, the first first."""
    entries = [*_of_record(record)]
    for incident in incidents:
        entries += _of_incident(incident)
    entries += [_of_event(event) for event in events]
    return sorted(entries, key=lambda entry: entry.at)


def history(incident: IdempotencyIncident, events: Iterable[IdempotencyEvent]) -> list[Entry]:
    """What is known of when something happened to an incident, the first first."""
    return sorted([*_of_incident(incident), *map(_of_event, events)], key=lambda entry: entry.at)


def lasted(time: timedelta) -> str:
    """A length of time, as short as it can be said: 84 ms, 3.2 s, 5 min, 2 h, 9 d."""
    seconds = max(time.total_seconds(), 0)
    if seconds < 1:
        return _("{number} ms").format(number=round(seconds * 1000))
    if seconds < 60:
        return _("{number} s").format(number=localize(Decimal(seconds).quantize(Decimal("0.1"))))
    if seconds < 3600:
        return _("{number} min").format(number=int(seconds // 60))
    if seconds < 2 * 86400:
        return _("{number} h").format(number=int(seconds // 3600))
    return _("{number} d").format(number=int(seconds // 86400))


def money(amount: Decimal | None, currency: str) -> str:
    """An amount as a person writes it; empty where there is none."""
    if amount is None:
        return ""
    written = -int(amount.normalize(EXACT).as_tuple().exponent)
    places = max(DECIMALS.get(currency.upper(), 2), written)
    return f"{number_format(amount, places, force_grouping=True)} {currency}".strip()


def attempts(record: IdempotencyRecord) -> int:
    """How often it was begun, as far as the record knows: what was released has left none."""
    return max(record.token, 1)


def _outcome(record: IdempotencyRecord) -> str:
    now = timezone.now()
    if record.state == State.UNKNOWN.value:
        return _("It was begun {time} ago, and nobody knows what became of it: a person has to find out.").format(
            time=lasted(now - record.claimed_at)
        )
    if record.state == State.PROCESSING.value:
        return _under_way(record, now)
    if record.completed_at is None:
        return _("It was closed without an answer.")
    after = lasted(record.completed_at - record.claimed_at)
    if record.state == State.COMPLETED.value:
        return _("Answered {status} after {time}.").format(status=record.status, time=after)
    return _("Answered after {time}; the answer has expired, and only the key is remembered.").format(time=after)


def _under_way(record: IdempotencyRecord, now: datetime) -> str:
    age = lasted(now - record.claimed_at)
    if record.lease_until is None:
        return _("Claimed {time} ago, and not answered yet.").format(time=age)
    if record.resume_at == never():
        return _("Claimed {time} ago, and refused before anything was done: only its client can send it again.").format(
            time=age
        )
    if record.resume_at and record.resume_at > now:
        return _("Claimed {time} ago, and put off: upkeep may go on with it in {wait}.").format(
            time=age, wait=lasted(record.resume_at - now)
        )
    if record.lease_until > now:
        return _("It has been running for {time}.").format(time=age)
    return _("Claimed {time} ago; whoever ran it has not been heard of for {silence}.").format(
        time=age, silence=lasted(now - record.lease_until)
    )


def _attempts(record: IdempotencyRecord) -> Iterator[str]:
    again = attempts(record) - 1
    if again:
        yield ngettext("It was taken up again once.", "It was taken up again {number} times.", again).format(
            number=again
        )
    if record.resumes:
        yield ngettext("Upkeep went on with it once.", "Upkeep went on with it {number} times.", record.resumes).format(
            number=record.resumes
        )


def _incident(record: IdempotencyRecord, incident: IdempotencyIncident) -> str:
    number = incident.counter
    match incident.kind:
        case Kind.MISMATCH:
            return _refusals(number).format(number=number, other=_difference(record, incident))
        case Kind.FAILED:
            return ngettext(
                "One attempt failed ({error}).", "{number} attempts failed, the last one with {error}.", number
            ).format(number=number, error=incident.error or "?")
        case Kind.ABANDONED:
            return ngettext(
                "One attempt died without a word.", "{number} attempts died without a word.", number
            ).format(number=number)
    return ngettext("Once its outcome was unknown.", "{number} times its outcome was unknown.", number).format(
        number=number
    )


def _refusals(number: int) -> str:
    return ngettext(
        "One attempt with {other} was refused.", "{number} attempts were refused, the first with {other}.", number
    )


def _difference(record: IdempotencyRecord, incident: IdempotencyIncident) -> str:
    """What is known without looking into the payloads."""
    mine, other = money(record.amount, record.currency), money(incident.amount, incident.currency)
    if mine and other and mine != other:
        return _("another amount ({other} instead of {mine})").format(other=other, mine=mine)
    if (incident.method, incident.path) != (record.method, record.path):
        return _("another address")
    return _("another payload")


def _of_record(record: IdempotencyRecord) -> Iterator[Entry]:
    yield Entry(at=record.claimed_at, what=_("The key was claimed, and the request was begun."))
    if record.completed_at:
        status = record.status and _("It was answered {status}.").format(status=record.status)
        yield Entry(at=record.completed_at, what=status or _("It was answered."))
    if record.state == State.PROCESSING.value and record.lease_until:
        yield Entry(at=record.lease_until, what=_("The claim ends, unless its owner extends it."))
    if record.resume_at and record.state == State.PROCESSING.value and record.resume_at < never():
        yield Entry(at=record.resume_at, what=_("Upkeep may go on with it."))
    if record.expires_at:
        yield Entry(at=record.expires_at, what=_("The answer expires."))
    if record.forget_at:
        yield Entry(at=record.forget_at, what=_("The key is forgotten, and may be used again."))


def _of_incident(incident: IdempotencyIncident) -> Iterator[Entry]:
    what = _("Incident: {kind}.").format(kind=incident.get_kind_display())
    yield Entry(at=incident.first_seen, what=what, why=incident.error)
    if incident.counter > 1:
        again = ngettext("The same once more.", "The same again, {number} times by now.", incident.counter - 1)
        yield Entry(at=incident.last_seen, what=again.format(number=incident.counter), why=incident.error)
    if incident.healed_at:
        yield Entry(at=incident.healed_at, what=_("The incident was closed."))


def done(event: IdempotencyEvent) -> str:
    """What a member of staff has done, or what has come of that."""
    if event.act.endswith(ENDED):
        return come_of(event)
    return str(ACTS.get(event.act, event.act))


def come_of(event: IdempotencyEvent) -> str:
    """What has come of an act that sends something."""
    said = json.loads(event.after)
    if "error" in said:
        return _("It ended with {error}.").format(error=said["error"])
    match event.act.removesuffix(ENDED):
        case "post-answer":
            text = _("The client's address has answered {status}.")
        case "dry-run":
            text = _("It was taken back; it would have been answered {status}.")
        case _:
            text = _come_of_run(said)
    return text.format(status=said.get("status"))


def _come_of_run(said: dict[str, Any]) -> str:
    if not said.get("ran"):
        return _("Nothing was run: it had been answered {status} before.")
    if said.get("kept"):
        return _("It was answered {status}, and that is kept.")
    if said.get("state"):
        return _("It was answered {status}, and its outcome is not known.")
    return _("It was answered {status}, and nothing of that is kept.")


def _of_event(event: IdempotencyEvent) -> Entry:
    # Why is said once, where it was begun.
    said = () if event.act.endswith(ENDED) else (event.reason, event.evidence)
    return Entry(at=event.at, what=done(event), who=event.actor, why="; ".join(text for text in said if text))
