from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from .. import resolution
from ..bulk import OF_INCIDENTS
from ..models import IdempotencyIncident
from . import acts, bulk_previews
from .incident_lists import FILTERS, IncidentList
from .incident_pages import ACTING, context, may_any
from .places import placed

if TYPE_CHECKING:
    IncidentAdminBase = admin.ModelAdmin[IdempotencyIncident]
else:
    IncidentAdminBase = admin.ModelAdmin

APP = "django_idempotency"
NAME = f"{APP}_idempotencyincident"
PAGE = 50
REFUSED = 409


@admin.register(IdempotencyIncident)
class IdempotencyIncidentAdmin(IncidentAdminBase):
    """The inbox, and the page of each incident. What was seen is not rewritten; what is decided is decided in resolution."""

    list_display = ("kind", "key")
    list_display_links = None
    list_filter: ClassVar[Any] = FILTERS
    list_per_page = PAGE
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = bulk_previews.actions(OF_INCIDENTS)

    class Media:
        css = {"all": ["django_idempotency/desk.css"]}
        js = ["django_idempotency/copy.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyIncident]:
        return placed(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[IncidentList]:
        return IncidentList

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = {"unmask": self.unmask_view, "assign": self.assign_view, "reopen": self.reopen_view}
        posts = [
            path(f"<path:object_id>/{name}/", acts.by_itself(wrap(require_POST(view))), name=f"{NAME}_{name}")
            for name, view in own.items()
        ]
        return [*posts, *acts.urls(self), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {"title": _("Incidents"), "may_assign": may_any(request.user, ACTING), "moment": now()}
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one incident: nothing on it can be changed by hand."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        try:
            return self._page(request, self._found(request, object_id))
        except Http404:
            # Django's own answer, which sends the staff on to the index and says so.
            return super().change_view(request, object_id, form_url, extra_context)

    def unmask_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The same page with what is stored, for somebody who has said why."""
        incident = self._found(request, object_id, "view_payload")
        reason, actor = request.POST.get("reason", ""), resolution.actor_of(request)
        try:
            revealed = resolution.reveal_incident(incident.pk, reason=reason, actor=actor, using=incident._state.db)
        except (ValueError, resolution.NotResolved) as refusal:
            return self._page(request, incident, refusal=refusal)
        return self._page(request, self._found(request, object_id), revealed=revealed)

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

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: IdempotencyIncident | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: IdempotencyIncident | None = None) -> bool:
        return False

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, ["resolve"])

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, ["replay"])

    def _found(self, request: HttpRequest, object_id: str, *codenames: str) -> IdempotencyIncident:
        """The incident, for somebody with one of these permissions. Raises PermissionDenied, and Http404."""
        permitted = not codenames or may_any(request.user, codenames)
        if not (permitted and self.has_view_permission(request)):
            raise PermissionDenied
        incident = self.get_object(request, unquote(object_id))
        if incident is None:
            raise Http404
        return incident

    def _refused(self, request: HttpRequest, object_id: str, refusal: Exception) -> HttpResponse:
        """The page as it is now, with who has changed what since it was looked at."""
        since = request.POST.get("since", "")
        seen = int(since) if since.isdecimal() and len(since) < 20 else 0
        return self._page(request, self._found(request, object_id), refusal=refusal, since=seen, status=REFUSED)

    def _page(
        self, request: HttpRequest, incident: IdempotencyIncident, *, status: int = 200, **more: Any
    ) -> HttpResponse:
        shown = context(incident, request.user, asked=request.GET, **more)
        shown |= {**self.admin_site.each_context(request), "moment": now(), "opts": self.opts, "media": self.media}
        return TemplateResponse(request, "admin/django_idempotency/incident.html", shown, status=status)

    def _back(self, request: HttpRequest, incident: IdempotencyIncident) -> str:
        """To where it was asked for: the page, or the inbox as it was filtered."""
        target = request.POST.get("next", "")
        if url_has_allowed_host_and_scheme(target, allowed_hosts=None):
            return target
        return reverse(f"{self.admin_site.name}:{NAME}_change", args=[incident.pk])
