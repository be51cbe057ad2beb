from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timezone import localtime, now
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from .. import audit, exports, resolution
from ..bulk import OF_RECORDS
from ..models import IdempotencyRecord
from ..payloads import visible
from ..timelines import attempts, lasted, money
from . import acts, bulk_previews
from .lists import FILTERS, STATES, RequestList
from .places import placed
from .request_pages import context

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    RecordAdminBase = admin.ModelAdmin[IdempotencyRecord]
else:
    RecordAdminBase = admin.ModelAdmin

APP = "django_idempotency"
PAGE = 50
ASKED = ("q", "scope", "window", "state", "status", "namespace")
"""What an address may say of which requests are wanted."""


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(RecordAdminBase):
    """Read-only: a record that is changed by hand may let a payment through twice."""

    list_display = (
        "shown_key",
        "shown_scope",
        "request",
        "shown_state",
        "money",
        "attempts",
        "age",
        "incidents",
    )
    list_display_links = None
    list_filter: ClassVar[Any] = FILTERS
    list_per_page = PAGE
    # Only that there is a search; what it finds is up to RequestList.
    search_fields = ("key",)
    search_help_text = _("A whole key, record id or scope, exactly. A key or id is found however old it is.")
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = bulk_previews.actions(OF_RECORDS)

    class Media:
        css = {"all": ["django_idempotency/desk.css"]}
        js = ["django_idempotency/copy.js"]

    @admin.display(description=_("key"))
    def shown_key(self, record: IdempotencyRecord) -> SafeString:
        page = reverse(f"{self.admin_site.name}:{APP}_idempotencyrecord_change", args=[record.pk])
        return format_html(
            '<a href="{}" class="idem-key" title="{}"><bdi>{}</bdi></a>{}',
            page,
            record.key,
            record.key,
            copier(record.key, _("Copy the key")),
        )

    @admin.display(description=_("scope"))
    def shown_scope(self, record: IdempotencyRecord) -> SafeString:
        scope = visible(record.scope)
        return format_html(
            '<a href="?{}" class="idem-scope" title="{}"><bdi>{}</bdi></a>',
            urlencode({"scope": record.scope}),
            scope,
            scope,
        )

    @admin.display(description=_("request"))
    def request(self, record: IdempotencyRecord) -> SafeString:
        where = visible(record.path)
        return format_html(
            '{} <span class="idem-path" title="{}"><bdi>{}</bdi></span>', visible(record.method), where, where
        )

    @admin.display(description=_("state"))
    def shown_state(self, record: IdempotencyRecord) -> SafeString:
        return format_html("{} {}", badge(record), record.status or "")

    @admin.display(description=_("amount"))
    def money(self, record: IdempotencyRecord) -> SafeString:
        return format_html('<span class="idem-number">{}</span>', money(record.amount, record.currency))

    @admin.display(description=_("attempts"))
    def attempts(self, record: IdempotencyRecord) -> SafeString:
        return format_html('<span class="idem-number">{}</span>', attempts(record))

    @admin.display(description=_("age"))
    def age(self, record: IdempotencyRecord) -> SafeString:
        at = record.claimed_at
        shown = localize(localtime(at)) if at.tzinfo else localize(at)
        return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), shown, lasted(now() - at))

    @admin.display(description=_("incidents"))
    def incidents(self, record: IdempotencyRecord) -> SafeString:
        count = getattr(record, "incidents", 0)
        page = reverse(f"{self.admin_site.name}:{APP}_idempotencyrecord_change", args=[record.pk])
        return format_html('<a href="{}#incidents">{}</a>', page, count) if count else format_html("{}", "")

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyRecord]:
        return placed(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RequestList]:
        return RequestList

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("export/", wrap(require_POST(self.export_view)), name=f"{APP}_idempotencyrecord_export"),
            path(
                "<path:object_id>/unmask/", wrap(require_POST(self.unmask_view)), name=f"{APP}_idempotencyrecord_unmask"
            ),
        ]
        return [*own, *acts.urls(self), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {
            "title": _("Requests"),
            "may_export": request.user.has_perm(f"{APP}.export"),
            "most_exported": exports.MOST,
        }
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one request: nothing on it can be changed."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        try:
            return self._page(request, self._found(request, object_id))
        except IdempotencyRecord.DoesNotExist:
            # Django's own answer, which sends the staff on to the index and says so.
            return super().change_view(request, object_id, form_url, extra_context)

    def unmask_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The same page with what is stored, for somebody who has said why."""
        record = self._found(request, object_id, "view_payload")
        try:
            revealed = resolution.reveal(
                record.pk,
                reason=request.POST.get("reason", ""),
                actor=resolution.actor_of(request),
                using=record._state.db,
            )
        except (ValueError, resolution.NotResolved) as refusal:
            return self._page(request, record, refusal=refusal)
        return self._page(request, record, revealed=revealed)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """What is listed, as a file; who has taken it, and what was asked for, is recorded first."""
        if not (self.has_view_permission(request) and request.user.has_perm(f"{APP}.export")):
            raise PermissionDenied
        changelist: Any = self.get_changelist_instance(request)
        records = changelist.root_queryset
        kind = "json" if request.POST.get("format") == "json" else "csv"
        asked = {name: request.GET[name] for name in ASKED if name in request.GET} | {"format": kind}
        audit.record_event(audit.actor_of(request), "export", using=records.db, after=asked)
        found = (
            (exports.row(records, record) for record in changelist.page.records)
            if changelist.by_key
            else exports.rows(records, changelist.wanted)
        )
        content_type, written = exports.FORMATS[kind]
        lines = written(found)
        return StreamingHttpResponse(
            exports.in_turn(lines) if isinstance(request, ASGIRequest) else lines,
            content_type=content_type,
            headers={"Content-Disposition": f'attachment; filename="requests-{now():%Y%m%d-%H%M%S}.{kind}"'},
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> bool:
        return False

    def has_release_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{APP}.release")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{APP}.replay")

    def _found(self, request: HttpRequest, object_id: str, *codenames: str) -> IdempotencyRecord:
        """The record, for somebody with these permissions. Raises PermissionDenied, and DoesNotExist."""
        permitted = all(request.user.has_perm(f"{APP}.{codename}") for codename in codenames)
        if not (permitted and self.has_view_permission(request)):
            raise PermissionDenied
        record = self.get_object(request, unquote(object_id))
        if record is None:
            raise IdempotencyRecord.DoesNotExist
        return record

    def _page(self, request: HttpRequest, record: IdempotencyRecord, **more: Any) -> HttpResponse:
        shown = context(record, request.user, **more)
        shown |= {
            **self.admin_site.each_context(request),
            "badge": badge(record),
            "acts": acts.links(request.user, record),
            "copy_key": copier(record.key, _("Copy the key")),
            "copy_curl": copier(shown["curl"], _("Copy the command")),
            "moment": now(),
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/django_idempotency/request.html", shown)


def badge(record: IdempotencyRecord) -> SafeString:
    """A record's state, told by more than a colour."""
    return format_html(
        '<span class="idem-state idem-{}">{}</span>', record.state, STATES.get(record.state, record.state)
    )


def copier(text: str, label: StrOrPromise) -> SafeString:
    """A button that copies; the script shows it."""
    return format_html(
        '<button type="button" class="idem-copy" data-copy="{}" aria-label="{}" title="{}" hidden></button>',
        text,
        label,
        label,
    )
