from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import resolution
from ..bulk import OF_INCIDENTS
from ..models import IdempotencyIncident
from . import acts, bulk_previews
from .desk import DeskAdmin
from .incident_lists import FILTERS, IncidentList
from .incident_pages import ACTING, context, may_any
from .places import placed

REFUSED = 409


@admin.register(IdempotencyIncident)
class IdempotencyIncidentAdmin(DeskAdmin[IdempotencyIncident]):
    """The inbox, and the page of each incident. What was seen is not rewritten; what is decided is decided in resolution."""

    heading = gettext_lazy("Incidents")
    list_display = ("kind", "key")
    list_filter: ClassVar[Any] = FILTERS
    actions = bulk_previews.actions(OF_INCIDENTS)

    class Media:
        js = ["django_idempotency/copy.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyIncident]:
        return placed(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[IncidentList]:
        return IncidentList

    def get_urls(self) -> list[URLPattern]:
        own = {"unmask": self.unmask_view, "assign": self.assign_view, "reopen": self.reopen_view}
        return [*self.posts(own), *acts.urls(self), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {"may_assign": may_any(request.user, ACTING), "moment": now()}
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def unmask_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The same page with what is stored, for somebody who has said why."""
        incident = self._found(request, object_id, "view_payload")
        reason, actor = request.POST.get("reason", ""), resolution.actor_of(request)
        try:
            revealed = resolution.reveal_incident(incident.pk, reason=reason, actor=actor, using=incident._state.db)
        except (ValueError, resolution.NotResolved) as refusal:
            return self.page(request, incident, refusal=refusal)
        return self.page(request, self.found(request, object_id), revealed=revealed)

    def assign_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take it, or leave it to nobody in particular."""
        incident = self._found(request, object_id, *ACTING)
        actor, said = resolution.actor_of(request), request.POST
        # In the inbox, one form has the buttons of all rows: the value of each says who was seen to see to it.
        seen, to = said.get("seen", ""), None if "leave" in said else actor
        try:
            resolution.assign(incident.pk, to=to, seen=seen, actor=actor, using=incident._state.db)
        except resolution.NotResolved as refusal:
            return self._refused(request, object_id, refusal)
        messages.success(request, _("You see to it now.") if to else _("Nobody sees to it now."))
        return HttpResponseRedirect(self._back(request, incident))

    def reopen_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Open again what was closed."""
        incident = self._found(request, object_id, "resolve")
        reason, actor = request.POST.get("reason", ""), resolution.actor_of(request)
        try:
            resolution.reopen(incident.pk, reason=reason, actor=actor, using=incident._state.db)
        except (ValueError, resolution.NotResolved) as refusal:
            return self._refused(request, object_id, refusal)
        messages.success(request, _("It is open again."))
        return HttpResponseRedirect(self._back(request, incident))

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, ["resolve"])

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, ["replay"])

    def _found(self, request: HttpRequest, object_id: str, *codenames: str) -> IdempotencyIncident:
        """The incident, for somebody with one of these permissions. Raises PermissionDenied, and Http404."""
        if not may_any(request.user, codenames):
            raise PermissionDenied
        return self.found(request, object_id)

    def _refused(self, request: HttpRequest, object_id: str, refusal: Exception) -> HttpResponse:
        """The page as it is now, with who has changed what since it was looked at."""
        since = request.POST.get("since", "")
        seen = int(since) if since.isdecimal() and len(since) < 20 else 0
        return self.page(request, self.found(request, object_id), refusal=refusal, since=seen, status=REFUSED)

    def page(self, request: HttpRequest, found: IdempotencyIncident, *, status: int = 200, **more: Any) -> HttpResponse:
        shown = context(found, request.user, asked=request.GET, **more)
        return self.answer(request, "incident.html", {**shown, "moment": now()}, status=status)

    def _back(self, request: HttpRequest, incident: IdempotencyIncident) -> str:
        """To where it was asked for: the page, or the inbox as it was filtered."""
        target = request.POST.get("next", "")
        if url_has_allowed_host_and_scheme(target, allowed_hosts=None):
            return target
        return self.address(incident)
