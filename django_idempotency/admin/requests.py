from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path
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
from .desk import DeskAdmin
from .lists import FILTERS, STATES, RequestList
from .places import placed
from .request_pages import context

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

APP = "django_idempotency"
ASKED = ("q", "scope", "window", "state", "status", "namespace")
"""What an address may say of which requests are wanted."""


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(DeskAdmin[IdempotencyRecord]):
    """Read-only: a record that is changed by hand may let a payment through twice."""

    heading = _("Requests")
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
    list_filter: ClassVar[Any] = FILTERS
    # Only that there is a search; what it finds is up to RequestList.
    search_fields = ("key",)
    search_help_text = _("A whole key, record id or scope, exactly. A key or id is found however old it is.")
    actions = bulk_previews.actions(OF_RECORDS)

    class Media:
        js = ["django_idempotency/copy.js"]

    @admin.display(description=_("key"))
    def shown_key(self, record: IdempotencyRecord) -> SafeString:
        return format_html(
            '<a href="{}" class="idem-key" title="{}"><bdi>{}</bdi></a>{}',
            self.address(record),
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
        page = self.address(record)
        return format_html('<a href="{}#incidents">{}</a>', page, count) if count else format_html("{}", "")

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyRecord]:
        return placed(super().get_queryset(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RequestList]:
        return RequestList

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        export = path("export/", wrap(require_POST(self.export_view)), name=f"{self.name()}_export")
        return [export, *self.posts({"unmask": self.unmask_view}), *acts.urls(self), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        more = {"may_export": request.user.has_perm(f"{APP}.export"), "most_exported": exports.MOST}
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def unmask_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The same page with what is stored, for somebody who has said why."""
        if not request.user.has_perm(f"{APP}.view_payload"):
            raise PermissionDenied
        record = self.found(request, object_id)
        try:
            revealed = resolution.reveal(
                record.pk,
                reason=request.POST.get("reason", ""),
                actor=resolution.actor_of(request),
                using=record._state.db,
            )
        except (ValueError, resolution.NotResolved) as refusal:
            return self.page(request, record, refusal=refusal)
        return self.page(request, record, revealed=revealed)

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

    def has_release_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{APP}.release")

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{APP}.replay")

    def page(self, request: HttpRequest, found: IdempotencyRecord, **more: Any) -> HttpResponse:
        shown = context(found, request.user, **more)
        shown |= {
            "badge": badge(found),
            "acts": acts.links(request.user, found),
            "copy_key": copier(found.key, _("Copy the key")),
            "copy_curl": copier(shown["curl"], _("Copy the command")),
            "moment": now(),
        }
        return self.answer(request, "request.html", shown)


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
