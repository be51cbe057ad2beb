"""What the page of one incident shows; of a mismatch, both requests and what they differ in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from django.utils.formats import localize
from django.utils.timezone import localtime, now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import audit
from ..briefings import briefing
from ..core.acts import Act
from ..core.states import State
from ..differences import Change, Comparison, compared
from ..listings import LISTED
from ..models import IdempotencyApproval, IdempotencyEvent, IdempotencyIncident, IdempotencyRecord
from ..payloads import Payload, compact, content_type, data_of, headers, masked, shortened, unmasked, visible
from ..timelines import history, money
from .act_forms import PAGES
from .acts import links

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

EVENTS = 200
"""Acts of staff that are shown."""
ACTING = ("resolve", "replay", "release")
"""Whoever may do anything may see to an incident."""
CHANGES: dict[str, StrOrPromise] = {
    Change.SAME: gettext_lazy("same"),
    Change.CHANGED: gettext_lazy("changed"),
    Change.FIRST_ONLY: gettext_lazy("only in the first"),
    Change.OTHER_ONLY: gettext_lazy("only in the other"),
    Change.HIDDEN: gettext_lazy("masked, may differ"),
}
# The bodies by column: what names the key, and the headers.
BODIES = {"request_body": ("request_key_id", "request_headers"), "first_body": ("first_key_id", "first_headers")}
Revealed = Mapping[str, bytes | None]

Kind = IdempotencyIncident.Kind


def context(
    incident: IdempotencyIncident,
    user: Any,
    *,
    asked: Mapping[str, str],
    revealed: Revealed | None = None,
    refusal: Exception | None = None,
    since: int | None = None,
) -> dict[str, Any]:
    """
    What the template needs, for somebody who may look at incidents. `asked` is what the address says of how to show it.

    `revealed` are the payloads of which they may see all. `refusal` says why something was not done, and `since` up to which
    event they had seen the history.
    """
    alias = incident._state.db or "default"
    record = _record(incident, alias)
    events = _events(incident, alias)
    raw, everything = asked.get("view") == "raw", asked.get("fields") == "all"
    return {
        "title": _("Incident {number}").format(number=incident.pk),
        "incident": incident,
        "briefing": briefing(incident, record, begun=any(event.act == Act.RUN_REFUSED for event in events)),
        "facts": _facts(incident),
        "record_page": record if record and user.has_perm("django_idempotency.view_idempotencyrecord") else None,
        "acts": _acts(incident, record, user),
        "waiting": _waiting(incident, alias),
        "payloads": _payloads(incident, revealed, raw=raw),
        **_compared(incident, revealed, everything=everything),
        "raw": raw,
        "everything": everything,
        "history": history(incident, events),
        "last_event": events[-1].sequence if events else 0,
        "meanwhile": _meanwhile(incident, events, since) if since is not None else [],
        "revealed": revealed is not None,
        "refusal": refusal,
        "may_unmask": user.has_perm("django_idempotency.view_payload"),
        "may_assign": may_any(user, ACTING),
        "may_reopen": incident.healed_at is not None and may_any(user, ["resolve"]),
        "mine": bool(incident.assignee) and incident.assignee_id == str(user.pk),
    }


def may_any(user: Any, codenames: Iterable[str]) -> bool:
    return any(user.has_perm(f"django_idempotency.{codename}") for codename in codenames)


def _is_mismatch(incident: IdempotencyIncident) -> bool:
    return incident.kind == Kind.MISMATCH


def _record(incident: IdempotencyIncident, alias: str) -> IdempotencyRecord | None:
    found = IdempotencyRecord._base_manager.using(alias).filter(pk=incident.record_id)
    return found.only(*LISTED, "fingerprint", "lease_until", "resumes", "resume_at").first()


def _events(incident: IdempotencyIncident, alias: str) -> list[IdempotencyEvent]:
    """The acts on this incident. They are found by its record, for which there is an index."""
    found = audit.events_in(alias).filter(record_id=incident.record_id, incident_id=incident.pk)
    return list(reversed(found.order_by("-sequence")[:EVENTS]))


def _acts(incident: IdempotencyIncident, record: IdempotencyRecord | None, user: Any) -> list[tuple[str, Any]]:
    """What is safe in its state, and this member of staff may do: the pages, and what they are called."""
    if incident.healed_at is not None:
        return []
    unknown = incident.kind == Kind.UNKNOWN and record is not None and record.state == State.UNKNOWN.value
    of_record = links(user, record) if unknown and record is not None else []
    # The page of the act is to decide about what was seen here.
    return [*of_record, *((f"{url}?seen={incident.counter}", title) for url, title in links(user, incident))]


def _waiting(incident: IdempotencyIncident, alias: str) -> list[tuple[IdempotencyApproval, Any]]:
    """What was asked for, and waits for a second person, with what it is called."""
    found = IdempotencyApproval._base_manager.using(alias).filter(state=IdempotencyApproval.State.REQUESTED)
    waiting = found.filter(incident_id=incident.pk, expires_at__gt=now()).defer("arguments")
    return [(one, PAGES[one.act].title) for one in waiting.order_by("pk")]


def _facts(incident: IdempotencyIncident) -> list[tuple[str, Any]]:
    """What is true of it, besides the payloads; without what is empty."""
    facts: list[tuple[str, Any]] = [
        (_("Request"), visible(f"{incident.method} {incident.path}")),
        (_("Amount"), money(incident.amount, incident.currency)),
        (_("Scope"), visible(incident.scope)),
        (_("Namespace"), visible(incident.namespace)),
        (_("Error"), visible(incident.error)),
        (_("Times"), incident.counter),
        (_("First seen"), _moment(incident.first_seen)),
        (_("Last seen"), _moment(incident.last_seen)),
        (_("Closed"), _moment(incident.healed_at)),
    ]
    return [(name, value) for name, value in facts if value not in ("", None)]


def _moment(at: Any) -> str:
    return "" if at is None else str(localize(localtime(at) if at.tzinfo else at))


def _payloads(incident: IdempotencyIncident, revealed: Revealed | None, *, raw: bool) -> list[dict[str, Any]]:
    """The request; of a mismatch the first one, and the other one beside it."""
    titles = {"request_body": _("Request")}
    if _is_mismatch(incident):
        titles = {"first_body": _("First request, which has the key"), "request_body": _("Other request, refused")}
    return [
        {
            "anchor": name,
            "title": title,
            "headers": headers(getattr(incident, BODIES[name][1])),
            "body": _body(incident, name, revealed, raw=raw),
        }
        for name, title in titles.items()
    ]


def _body(incident: IdempotencyIncident, name: str, revealed: Revealed | None, *, raw: bool) -> Payload:
    stored, key_id, kind = _stored(incident, name)
    if revealed is not None:
        return unmasked(revealed.get(name), pretty=not raw)
    if raw and (text := compact(stored, key_id, kind)) is not None:
        return shortened(text)
    return masked(stored, key_id, kind)


def _stored(incident: IdempotencyIncident, name: str) -> tuple[Any, str, str]:
    key_id, of_headers = BODIES[name]
    return getattr(incident, name), getattr(incident, key_id), content_type(getattr(incident, of_headers))


def _compared(incident: IdempotencyIncident, revealed: Revealed | None, *, everything: bool) -> dict[str, Any]:
    comparison = _comparison(incident, revealed, everything=everything) if _is_mismatch(incident) else None
    told = [(one, CHANGES[one.change]) for one in comparison.fields] if comparison else []
    return {"comparison": comparison, "differences": told}


def _comparison(incident: IdempotencyIncident, revealed: Revealed | None, *, everything: bool) -> Comparison | None:
    """None where one of them has no fields to compare."""
    sides = []
    for name in ("first_body", "request_body"):
        stored, key_id, kind = _stored(incident, name)
        clear = revealed is not None
        stored, key_id = (revealed.get(name), "") if revealed is not None else (stored, key_id)
        sides.append(data_of(stored, key_id, kind, clear=clear))
    if any(side is None for side in sides):
        return None
    return compared(*sides, everything=everything)


def _meanwhile(incident: IdempotencyIncident, events: list[IdempotencyEvent], since: int) -> list[str]:
    """Who has changed what since somebody looked, as far as it is known."""
    # Who has seen nothing of the history, as in the inbox, is told the last of it.
    unseen = [event for event in events if event.sequence > since] if since else events[-1:]
    newer = history(incident, unseen)
    said = [f"{entry.who}: {entry.what}" + (f" ({entry.why})" if entry.why else "") for entry in newer if entry.who]
    if said:
        return said
    seen = ngettext(
        "It was seen once, the last time at {at}.",
        "It was seen {number} times, the last time at {at}.",
        incident.counter,
    )
    return [seen.format(number=incident.counter, at=_moment(incident.last_seen))]
