"""What waits for a second person, and the page on which that person decides."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import approvals, audit, payloads, resolution
from ..core.acts import Act
from ..models import IdempotencyApproval, IdempotencyIncident, IdempotencyRecord
from ..timelines import ENDED, come_of, money
from . import acts
from .act_forms import PAGES
from .desk import DeskAdmin
from .places import placed

APP = "django_idempotency"
LABELS = {
    "reason": gettext_lazy("Reason"),
    "evidence": gettext_lazy("Evidence"),
    "reference": gettext_lazy("Reference"),
    "refusal": gettext_lazy("The gateway's reason, in its words"),
    "result": gettext_lazy("What the call has returned"),
    "status": gettext_lazy("Status of the answer"),
    "body": gettext_lazy("The answer"),
    "amount": gettext_lazy("Amount in minor units"),
    "currency": gettext_lazy("Currency"),
    "claim": gettext_lazy("Seen as claim"),
    "token": gettext_lazy("Seen as token"),
    "counter": gettext_lazy("Seen as often as"),
    "seen": gettext_lazy("Seen as"),
}

SENDING = (Act.REPLAY, Act.DRY_RUN, Act.RUN_REFUSED, Act.POST_ANSWER)

State = IdempotencyApproval.State


@admin.register(IdempotencyApproval)
class IdempotencyApprovalAdmin(DeskAdmin[IdempotencyApproval]):
    """Nothing here is changed by hand: it is granted or refused, in approvals.py."""

    heading = gettext_lazy("Approvals")
    list_display = ("what", "money", "requester", "requested_at", "expires_at", "state", "approver")
    list_filter = ("state",)

    @admin.display(description=gettext_lazy("act"))
    def what(self, approval: IdempotencyApproval) -> SafeString:
        return format_html('<a href="{}">{}</a>', self.address(approval), _title(approval))

    @admin.display(description=gettext_lazy("amount"))
    def money(self, approval: IdempotencyApproval) -> SafeString:
        return format_html('<span class="idem-number">{}</span>', money(approval.amount, approval.currency))

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyApproval]:
        """What can still be decided first, the oldest of it before the others; then the latest."""
        waiting = Case(When(state=State.REQUESTED, expires_at__gt=now(), then=Value(0)), default=Value(1))
        found = placed(super().get_queryset(request)).defer("arguments").annotate(waiting=waiting)
        return found.order_by("waiting", Case(When(waiting=0, then="requested_at")), "-pk")

    def get_urls(self) -> list[URLPattern]:
        return [*self.posts({"approve": self.approve_view, "reject": self.reject_view}), *super().get_urls()]

    def approve_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found = self.found(request, object_id)
        if not request.user.has_perm(f"{APP}.approve"):
            raise PermissionDenied
        try:
            approvals.approve(found.pk, actor=audit.actor_of(request), using=found._state.db)
        except (ValueError, resolution.NotResolved) as refusal:
            return self.page(request, self.found(request, object_id), refusal=refusal)
        messages.success(request, _("Approved.") + f" {_come_of(found)}" if _sends(found) else _("Approved, and done."))
        return HttpResponseRedirect(self.address(found))

    def reject_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found, actor = self.found(request, object_id), audit.actor_of(request)
        if not (request.user.has_perm(f"{APP}.approve") or _is_theirs(found, actor)):
            raise PermissionDenied
        reason = request.POST.get("reason", "")
        try:
            approvals.reject(found.pk, reason=reason, actor=actor, using=found._state.db)
        except (ValueError, resolution.NotResolved) as refusal:
            return self.page(request, self.found(request, object_id), refusal=refusal)
        messages.success(request, _("It will not be done."))
        return HttpResponseRedirect(self.address(found))

    def page(
        self, request: HttpRequest, found: IdempotencyApproval, *, refusal: Exception | None = None
    ) -> HttpResponse:
        actor, approves = audit.actor_of(request), request.user.has_perm(f"{APP}.approve")
        is_open = found.state == State.REQUESTED and found.expires_at > now()
        theirs, frozen = _is_theirs(found, actor), _frozen(found)
        shown = {
            **frozen,
            "title": _title(found),
            "does": PAGES[found.act].does if found.act in PAGES else "",
            "found": found,
            "money": money(found.amount, found.currency),
            "subject": _subject(request, found),
            "come_of": _come_of(found) if found.state == State.DONE and _sends(found) else "",
            "is_open": is_open,
            "late": found.state == State.REQUESTED and not is_open,
            "theirs": theirs,
            "may_approve": is_open and approves and not theirs and frozen.get("intact"),
            "may_reject": is_open and (approves or theirs),
            "refusal": refusal,
        }
        return self.answer(request, "approval.html", shown, status=acts.REFUSED if refusal else 200)


def _title(approval: IdempotencyApproval) -> str:
    return str(PAGES[approval.act].title) if approval.act in PAGES else approval.act


def _sends(found: IdempotencyApproval) -> bool:
    """Whether it is carried out after it was granted, so that much can still come in between."""
    return found.act in SENDING


def _come_of(found: IdempotencyApproval) -> str:
    """What has come of an act that sends something."""
    alias, record_id = found._state.db or audit.home(), found.record_id
    if record_id is None:
        incidents = IdempotencyIncident._base_manager.using(alias).filter(pk__in=[found.incident_id])
        record_id = incidents.values_list("record_id", flat=True).first()
    ended = audit.events_in(alias).filter(record_id=record_id, approval_id=found.pk, act=found.act + ENDED)
    event = ended.first()
    return come_of(event) if event else _("Nobody knows yet what has come of it: look at the request.")


def _is_theirs(found: IdempotencyApproval, actor: audit.Actor) -> bool:
    """Whether it was asked for by this person."""
    return found.requester == actor.name or (bool(actor.id) and found.requester_id == actor.id)


def _frozen(found: IdempotencyApproval) -> dict[str, Any]:
    """What it would be done with, for the page; and whether that is still what was asked for."""
    try:
        asked, intact = approvals.frozen(found)
    except (ValueError, resolution.NotResolved) as refusal:
        # Of an act that this release does not know, or changed in the database to what nobody could have asked for.
        return {"given": [], "unreadable": refusal}
    return {"given": [_shown(name, value) for name, value in asked.items() if value is not None], "intact": intact}


def _shown(name: str, value: Any) -> tuple[Any, str, bool]:
    """A label, the text, and whether it is a payload."""
    if name in ("body", "result"):
        text = value if name == "body" else audit.canonical(value)
        return LABELS[name], str(payloads.masked(text.encode(), "", "application/json")), True
    return LABELS.get(name, name), payloads.visible(str(value)), False


def _subject(request: HttpRequest, found: IdempotencyApproval) -> str:
    """The page of what it is about, for who may see that; empty where it has gone."""
    model: Any = IdempotencyIncident if found.record_id is None else IdempotencyRecord
    given = found.incident_id if found.record_id is None else found.record_id
    there = model._base_manager.using(found._state.db).filter(pk=given).exists()
    if not there or not request.user.has_perm(f"{APP}.view_{model._meta.model_name}"):
        return ""
    return reverse(f"admin:{APP}_{model._meta.model_name}_change", args=[given])
