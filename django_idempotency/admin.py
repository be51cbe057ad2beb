from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from .conf import get_policy, profiles
from .masking import Masking, dumped
from .models import IdempotencyIncident, IdempotencyRecord, IdempotencyStep

if TYPE_CHECKING:
    RecordAdminBase = admin.ModelAdmin[IdempotencyRecord]
    IncidentAdminBase = admin.ModelAdmin[IdempotencyIncident]
else:
    RecordAdminBase = IncidentAdminBase = admin.ModelAdmin

FIELDS = (
    *("id", "namespace", "scope", "key", "fingerprint_hex", "state", "claim", "token", "method", "path"),
    *("status", "headers", "body_text", "claimed_at", "completed_at", "expires_at", "forget_at"),
)
OF_OPERATION = ("operation", "input_text", "resumes", "resume_at", "steps")
OF_STEP = (_("name"), _("kind"), _("given"), _("returned"), _("sent"), _("done"), _("key"), _("by"), _("evidence"))
SHOWN = 10_000
"""Characters of a stored answer that are shown."""


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(RecordAdminBase):
    """Read-only: a record that is changed by hand may let a payment through twice."""

    list_display = ["id", "key", "scope", "namespace", "state", "method", "path", "status", "claimed_at"]
    search_fields = ["key"]
    search_help_text = _("The whole key, exactly.")
    # Any other order, and a second count, would read the whole table.
    ordering = ["pk"]
    sortable_by = ()
    show_full_result_count = False
    fields = FIELDS
    readonly_fields = (*FIELDS, *OF_OPERATION)

    @admin.display(description=_("fingerprint"))
    def fingerprint_hex(self, record: IdempotencyRecord) -> str:
        return bytes(record.fingerprint).hex()

    @admin.display(description=_("body"))
    def body_text(self, record: IdempotencyRecord) -> str:
        return _shown(record.body, record.body_key_id)

    @admin.display(description=_("operation's input"))
    def input_text(self, record: IdempotencyRecord) -> str:
        return _masked(record.operation_input, record.operation_key_id)

    @admin.display(description=_("steps"))
    def steps(self, record: IdempotencyRecord) -> SafeString:
        steps = IdempotencyStep._base_manager.using(record._state.db).filter(record_id=record.pk).order_by("position")
        head = format_html_join("", "<th>{}</th>", ((name,) for name in OF_STEP))
        rows = format_html_join("", "<tr>{}</tr>", ((_cells(step),) for step in steps))
        return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, rows)

    def get_fields(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> tuple[str, ...]:
        return (*FIELDS, *OF_OPERATION) if obj and obj.operation else FIELDS

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyRecord]:
        return super().get_queryset(request).defer("body", "request_body", "operation_input")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[IdempotencyRecord], search_term: str
    ) -> tuple[QuerySet[IdempotencyRecord], bool]:
        """Exact, so that the index serves it, and in one piece: a key may contain spaces."""
        found = queryset.filter(key=search_term) if search_term else queryset
        if search_term and connections[queryset.db].vendor == "mysql":
            # To its index, keys are equal that differ in case or in spaces at the end.
            found = queryset.filter(pk__in=[pk for pk, key in found.values_list("pk", "key") if key == search_term])
        return found, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> bool:
        return False


INCIDENT_FIELDS = (
    *("kind", "record_id", "namespace", "scope", "key", "method", "path", "error", "amount", "currency", "counter"),
    *("first_seen", "last_seen", "healed_at", "request_headers", "request_text", "first_headers", "first_text"),
)


@admin.register(IdempotencyIncident)
class IdempotencyIncidentAdmin(IncidentAdminBase):
    """Read-only: what was seen is not rewritten."""

    list_display = ["kind", "key", "scope", "error", "amount", "currency", "counter", "last_seen", "healed_at"]
    list_filter = ["kind", ("healed_at", admin.EmptyFieldListFilter)]
    show_full_result_count = False
    ordering = ["-pk"]
    fields = INCIDENT_FIELDS
    readonly_fields = INCIDENT_FIELDS

    @admin.display(description=_("request"))
    def request_text(self, incident: IdempotencyIncident) -> str:
        return _shown(incident.request_body, incident.request_key_id)

    @admin.display(description=_("first request"))
    def first_text(self, incident: IdempotencyIncident) -> str:
        return _shown(incident.first_body, incident.first_key_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyIncident]:
        return super().get_queryset(request).defer("request_body", "first_body")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: IdempotencyIncident | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: IdempotencyIncident | None = None) -> bool:
        return False


def _cells(step: IdempotencyStep) -> SafeString:
    given, result = _masked(step.input, step.input_key_id), _masked(step.result, step.result_key_id)
    times = (step.requested_at or "", step.finished_at or "")
    values = (
        step.name,
        step.get_kind_display(),
        given,
        result,
        *times,
        step.gateway_key,
        step.resolved_by,
        step.evidence,
    )
    return format_html_join("", "<td>{}</td>", ((value,) for value in values))


def _masked(stored: bytes | memoryview | None, key_id: str) -> str:
    """JSON of an operation, without what nobody should see who may only look at records."""
    if stored is None or key_id:
        return _shown(stored, key_id)
    masking = Masking([pointer for name in profiles() for pointer in get_policy(name).mask])
    try:
        data = masking.data(masking.json(bytes(stored).decode()))
    except (ValueError, RecursionError):
        return str(_("cannot be shown"))
    return _shown(dumped(data).encode(errors="surrogatepass"), "")


def _shown(body: bytes | memoryview | None, key_id: str) -> str:
    """Text, which the template escapes: a stored page must not run in the staff's browser."""
    if key_id:
        return str(_("encrypted under key {key_id}").format(key_id=key_id))
    text = bytes(body or b"").decode(errors="backslashreplace")
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
