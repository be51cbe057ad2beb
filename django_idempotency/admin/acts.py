"""The pages on which staff does something about a record or an incident: one for each act, with what it will do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from .. import approvals, audit, payloads, resolution
from ..core.acts import Act
from ..core.states import State
from ..models import IdempotencyApproval, IdempotencyIncident, IdempotencyRecord
from ..resolution import fitting
from ..resolution.grants import needed
from ..timelines import done, money
from .act_forms import PAGES, SHOW_ANSWER, Page
from .desk import DeskAdmin, by_itself

APP = "django_idempotency"
REFUSED = 409
LONGEST_NUMBER = 19
"""Digits, from which on a number may be too large for a column."""

Stored = IdempotencyRecord | IdempotencyIncident


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One act on what is stored under an id, as one member of staff asks for it."""

    admin: DeskAdmin[Any]
    request: HttpRequest
    act: str
    page: Page
    id: Any
    found: Stored | None
    """None where it has gone meanwhile."""

    @property
    def alias(self) -> str | None:
        return self.found._state.db if self.found else None

    @property
    def seen(self) -> int:
        """What of it changes when somebody, or a request, was at it: as the page that led here has shown it, or as it is."""
        shown = self.request.GET.get("seen", "")
        if shown.isdecimal() and len(shown) < LONGEST_NUMBER:
            return int(shown)
        if isinstance(self.found, IdempotencyIncident):
            return self.found.counter
        if self.found is None:
            return 0
        return self.found.token if self.page.seen == "token" else self.found.claim

    def do(self, cleaned: dict[str, Any]) -> Any:
        """What the act returns. Raises NotResolved, and ValueError."""
        function = resolution.stored_answer if self.act == SHOW_ANSWER else resolution.ACTS[Act(self.act)]
        arguments = self.page.arguments(cleaned)
        return function(self.id, **arguments, actor=audit.actor_of(self.request), using=self.alias)

    def against(self) -> resolution.NotResolved | None:
        """Why it would be refused now."""
        if self.found is None:
            return resolution.NotFound(_("There is nothing under this id."))
        if self.act == SHOW_ANSWER:
            return None
        actor = audit.actor_of(self.request)
        return fitting.refusal(Act(self.act), self.id, seen=self.seen, actor=actor, using=self.alias)

    def second_person(self) -> bool:
        """Whether it needs one."""
        if self.found is None or self.act == SHOW_ANSWER:
            return False
        row = {name: getattr(self.found, name) for name in ("namespace", "amount", "currency")}
        return needed(Act(self.act), row)

    def answer(self, **more: Any) -> HttpResponse:
        shown = {
            "title": self.page.title,
            "does": self.page.does,
            "found": self.found,
            "back": self.back(),
            "about": about(self.found) if self.found else [],
            **more,
        }
        refused = "refusal" in more
        return self.admin.answer(self.request, "act.html", shown, status=REFUSED if refused else 200)

    def back(self) -> str:
        """The page of what it is about; where that has gone, the list."""
        name = f"{self.admin.admin_site.name}:{APP}_{self.admin.opts.model_name}"
        gone = self.found is None or not type(self.found)._base_manager.using(self.alias).filter(pk=self.id).exists()
        return reverse(f"{name}_changelist") if gone else reverse(f"{name}_change", args=[self.id])


def urls(model_admin: DeskAdmin[Any]) -> list[URLPattern]:
    """The address of each act, below that of the record or the incident."""

    def act_view(request: HttpRequest, object_id: str, act: str) -> HttpResponse:
        return _act(_desk(model_admin, request, object_id, act))

    view = by_itself(model_admin.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(act_view)))
    return [path("<path:object_id>/act/<slug:act>/", view, name=f"{APP}_{model_admin.opts.model_name}_act")]


def links(user: Any, found: Stored) -> list[tuple[str, Any]]:
    """The acts that fit what is stored, and that the user may do: the address and the name of each."""
    name = f"admin:{APP}_{found._meta.model_name}_act"
    return [
        (reverse(name, args=[found.pk, str(act)]), PAGES[act].title) for act in _fitting(found) if may(user, PAGES[act])
    ]


def _fitting(found: Stored) -> tuple[str, ...]:
    if isinstance(found, IdempotencyIncident):
        return fitting.of_incident(found)
    return (*fitting.of_record(found), *((SHOW_ANSWER,) if found.state == State.COMPLETED else ()))


def may(user: Any, page: Page) -> bool:
    return all(user.has_perm(f"{APP}.{codename}") for codename in page.permissions)


def asked_for(
    request: HttpRequest, needs: resolution.NeedsApproval, model_admin: DeskAdmin[Any], back: str
) -> HttpResponse:
    """Ask for a second person, and go to where that can be seen. Raises NotResolved."""
    approval = approvals.request(needs)
    said = _("Approval %(number)s was asked for. Nothing is done until another person has approved it.")
    messages.warning(request, said % {"number": approval.pk})
    if request.user.has_perm(f"{APP}.view_idempotencyapproval"):
        options = IdempotencyApproval._meta
        name = f"{model_admin.admin_site.name}:{APP}_{options.model_name}_change"
        return HttpResponseRedirect(reverse(name, args=[approval.pk]))
    return HttpResponseRedirect(back)


def about(found: Stored) -> list[tuple[str, Any]]:
    """What somebody has to see of it before he decides; without what is empty."""
    record = isinstance(found, IdempotencyRecord)
    state = found.state if isinstance(found, IdempotencyRecord) else found.get_kind_display()
    facts = [
        (_("Key"), payloads.visible(found.key)),
        (_("Scope"), payloads.visible(found.scope)),
        (_("Request"), payloads.visible(f"{found.method} {found.path}")),
        (_("State") if record else _("Kind"), state),
        (_("Amount"), money(found.amount, found.currency)),
    ]
    return [(name, value) for name, value in facts if value not in ("", None)]


def _desk(model_admin: DeskAdmin[Any], request: HttpRequest, object_id: str, act: str) -> Desk:
    """Raises PermissionDenied, and Http404 for what is no act on such a thing."""
    page = PAGES.get(act)
    of_incident = model_admin.model is IdempotencyIncident
    if page is None or not _concerns(page, of_incident=of_incident):
        raise Http404
    if not (model_admin.has_view_permission(request) and may(request.user, page)):
        raise PermissionDenied
    found = model_admin.get_object(request, unquote(object_id))
    given = found.pk if found else _read(model_admin, unquote(object_id))
    return Desk(admin=model_admin, request=request, act=act, page=page, id=given, found=found)


def _read(model_admin: DeskAdmin[Any], text: str) -> Any:
    """The id of what has gone. Raises Http404 for what is none."""
    try:
        return model_admin.opts.pk.to_python(text)
    except ValidationError:
        raise Http404 from None


def _concerns(page: Page, *, of_incident: bool) -> bool:
    """Whether the act takes what such a thing has: an incident its counter, a record its claim or its token."""
    if page.seen == "seen":
        return of_incident or page is not PAGES[Act.RUN_REFUSED]
    return of_incident is (page.seen == "counter")


def _act(desk: Desk) -> HttpResponse:
    if desk.request.method != "POST":
        against = desk.against()
        if against is not None:
            return _refused(desk, against)
        form = desk.page.form(initial={"seen": desk.seen})
        return desk.answer(form=form, second_person=desk.second_person())
    form = desk.page.form(desk.request.POST)
    if form.is_valid():
        try:
            return _done(desk, desk.do(form.cleaned_data))
        except resolution.NeedsApproval as needs:
            return _asked_for(desk, needs)
        except resolution.NotResolved as why:
            return _refused(desk, why)
        except ValueError as fault:
            form.add_error(None, str(fault))
    return desk.answer(form=form, second_person=desk.second_person())


def _asked_for(desk: Desk, needs: resolution.NeedsApproval) -> HttpResponse:
    try:
        return asked_for(desk.request, needs, desk.admin, desk.back())
    except resolution.NotResolved as why:
        return _refused(desk, why)


def _done(desk: Desk, outcome: Any) -> HttpResponse:
    if isinstance(outcome, resolution.Answer):
        shown = {"headers": _headers(desk, outcome), "body": _body(desk, outcome)}
        return desk.answer(said=_told(desk, outcome), outcome=outcome, **shown)
    if isinstance(outcome, int):
        said = _("The client's address has answered %(status)s.") % {"status": outcome}
        return desk.answer(said=said)
    messages.success(desk.request, _("Done, and recorded: %(act)s.") % {"act": desk.page.title})
    return HttpResponseRedirect(desk.back())


def _told(desk: Desk, answer: resolution.Answer) -> str:
    """What has become of a request that was run."""
    if desk.act == SHOW_ANSWER:
        return _("This is what every retry gets.")
    if desk.act == Act.DRY_RUN:
        return _("It was run, and rolled back. This is what it would have answered.")
    if not answer.ran:
        return _("Nothing was run: somebody was faster. This is the answer that is stored.")
    if answer.kept:
        return _("It was run. This is what every retry gets from now on.")
    return _told_of_key(answer.left)


def _told_of_key(left: str) -> str:
    """The same where the answer is not kept, by the state in which that has left its record."""
    if left == State.UNKNOWN:
        return _("It was run, and nobody knows what became of it: a person has to find out.")
    if left:
        return _("It was begun, and has not come to its end: look at it again.")
    return _("It was run. This answer is not kept, and its key is free again.")


def _headers(desk: Desk, answer: resolution.Answer) -> list[tuple[str, str]]:
    """Of what was run, masked: such an answer may bring a cookie that opens its client's session."""
    if desk.act == SHOW_ANSWER:
        return [(payloads.visible(name), payloads.visible(value)) for name, value in answer.headers]
    return payloads.masked_headers(json.dumps(answer.headers))


def _body(desk: Desk, answer: resolution.Answer) -> payloads.Payload:
    """Of what was run, masked; the stored answer as it is, because that is what was asked for."""
    if desk.act == SHOW_ANSWER:
        return payloads.unmasked(answer.body)
    headers = {name.lower(): value for name, value in answer.headers}
    return payloads.masked(answer.body, "", headers.get("content-type", ""))


def _refused(desk: Desk, why: resolution.NotResolved) -> HttpResponse:
    return desk.answer(refusal=str(why), last=_last(desk) if desk.request.method == "POST" else None)


def _last(desk: Desk) -> dict[str, Any] | None:
    """What staff has done about it last: who was faster, where it was a person."""
    about = {"record_id": desk.id} if isinstance(desk.id, UUID) else {"incident_id": desk.id}
    event = audit.events_in(desk.alias).filter(**about).order_by("-sequence").first()
    return None if event is None else {"event": event, "what": done(event)}
