"""One act on several: begun, and how far it is, row by row."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from .. import audit, bulk
from ..conf import get_policy
from ..models import IdempotencyBulk, IdempotencyBulkRow, IdempotencyIncident, IdempotencyRecord
from ..timelines import money
from . import acts
from .act_forms import PAGES
from .bulk_previews import act_named, as_seen, chosen, preview, refuse
from .desk import DeskAdmin, by_itself
from .places import placed, where

APP = "django_idempotency"
MODELS: dict[str, Any] = {"record": IdempotencyRecord, "incident": IdempotencyIncident}
AT_ONCE = 2.0
"""Seconds for which rows are done while somebody waits for the page."""

State = IdempotencyBulkRow.State


@admin.register(IdempotencyBulk)
class IdempotencyBulkAdmin(DeskAdmin[IdempotencyBulk]):
    """What was done to several at once. It is begun from the lists of requests and incidents."""

    heading = gettext_lazy("Bulk acts")
    list_display = ("what", "requester", "requested_at", "how_far")
    ordering = ("-pk",)

    @admin.display(description=gettext_lazy("act"))
    def what(self, run: IdempotencyBulk) -> SafeString:
        return format_html('<a href="{}">{}</a>', self.address(run), PAGES[run.act].title)

    @admin.display(description=gettext_lazy("how far it is"))
    def how_far(self, run: IdempotencyBulk) -> str:
        return ", ".join(f"{number} {label}" for label, number in _counts(run.rows.all()))

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyBulk]:
        """Of what the user may see alone, too."""
        states = IdempotencyBulkRow._base_manager.using(where()).only("bulk_id", "state")
        found = placed(super().get_queryset(request)).prefetch_related(Prefetch("rows", states))
        for kind in MODELS:
            if not _may_view(request, kind):
                found = found.exclude(**{f"rows__{kind}_id__isnull": False})
        return found

    def get_urls(self) -> list[URLPattern]:
        begin = by_itself(self.admin_site.admin_view(require_POST(self.begin_view)))
        own = self.posts({"go-on": self.go_on_view, "stop": self.stop_view})
        return [path("begin/", begin, name=f"{self.name()}_begin"), *own, *super().get_urls()]

    def begin_view(self, request: HttpRequest) -> HttpResponse:
        """Begin what a preview has shown."""
        act, model = act_named(request.POST.get("act", "")), MODELS.get(request.POST.get("about", ""))
        if model is None:
            raise Http404
        model_admin: Any = self.admin_site.get_model_admin(model)
        refuse(model_admin, request, act)
        seen = as_seen(request.POST.getlist("row"))
        found = chosen(model_admin, request, list(seen))
        actor, reason = audit.actor_of(request), request.POST.get("reason", "")
        using = model_admin.get_queryset(request).db
        try:
            known = {one.pk: seen[str(one.pk)] for one in found}
            run = bulk.begin(act, found, known, reason=reason, actor=actor, using=using)
        except ValueError as fault:
            return preview(model_admin, request, act, list(seen), fault=fault)
        if get_policy().bulk_in_celery:
            _in_celery(run.pk, using)
        return HttpResponseRedirect(self.address(run))

    def go_on_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self._found(request, object_id)
        if not _is_theirs(request, run):
            raise PermissionDenied
        bulk.carry_out(run.pk, seconds=AT_ONCE, using=where())
        return HttpResponseRedirect(self.address(run))

    def stop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        run = self._found(request, object_id)
        bulk.stop(run.pk, actor=audit.actor_of(request), using=where())
        messages.success(request, _("Stopped. What was begun has been done; nothing else is begun."))
        return HttpResponseRedirect(self.address(run))

    def page(self, request: HttpRequest, run: IdempotencyBulk) -> HttpResponse:
        """How far it is."""
        rows = list(_rows(run))
        more = run.stopped_at is None and any(row.state == State.WAITING for row in rows)
        may_act = acts.may(request.user, PAGES[run.act])
        shown = {
            "title": PAGES[run.act].title,
            "run": run,
            "rows": [(row, money(row.amount, row.currency), _row_page(request, row)) for row in rows],
            "counts": _counts(rows),
            "more": more,
            "begun": any(row.state == State.BEGUN for row in rows),
            "elsewhere": get_policy().bulk_in_celery,
            "may_go_on": more and may_act and _is_theirs(request, run),
            "may_stop": more and may_act,
        }
        return self.answer(request, "bulk.html", shown)

    def has_view_permission(self, request: HttpRequest, obj: IdempotencyBulk | None = None) -> bool:
        return any(_may_view(request, kind) for kind in MODELS)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def _found(self, request: HttpRequest, object_id: str) -> IdempotencyBulk:
        """A bulk act, for somebody who may do such an act. Raises PermissionDenied, and Http404."""
        run = self.found(request, object_id)
        if not acts.may(request.user, PAGES[run.act]):
            raise PermissionDenied
        return run


def _may_view(request: HttpRequest, kind: str) -> bool:
    return request.user.has_perm(f"{APP}.view_idempotency{kind}")


def _rows(run: IdempotencyBulk) -> Any:
    return IdempotencyBulkRow._base_manager.using(where()).filter(bulk_id=run.pk).order_by("pk")


def _counts(rows: Any) -> list[tuple[Promise | str, int]]:
    """How many there are of each state."""
    states = Counter(row.state for row in rows)
    return [(state.label, states[state.value]) for state in State if states[state.value]]


def _row_page(request: HttpRequest, row: IdempotencyBulkRow) -> str:
    """The page of what a row is about, for who may see that."""
    kind, given = ("record", row.record_id) if row.record_id is not None else ("incident", row.incident_id)
    return reverse(f"admin:{APP}_idempotency{kind}_change", args=[given]) if _may_view(request, kind) else ""


def _is_theirs(request: HttpRequest, run: IdempotencyBulk) -> bool:
    """Whether it is done in the name of this user."""
    return run.requester_id == str(request.user.pk)


def _in_celery(bulk_id: int, using: str) -> None:
    # Celery is optional, and only asked for where the settings say that there is a worker.
    from ..tasks import carry_out_bulk

    carry_out_bulk.delay(bulk_id, database=using)
