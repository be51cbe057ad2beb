from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .models import IdempotencyIncident, IdempotencyRecord

if TYPE_CHECKING:
    RecordAdminBase = admin.ModelAdmin[IdempotencyRecord]
    IncidentAdminBase = admin.ModelAdmin[IdempotencyIncident]
else:
    RecordAdminBase = IncidentAdminBase = admin.ModelAdmin

FIELDS = (
    *("id", "namespace", "scope", "key", "fingerprint_hex", "state", "claim", "token", "method", "path"),
    *("status", "headers", "body_text", "claimed_at", "completed_at", "expires_at", "forget_at"),
)
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
    readonly_fields = FIELDS

    @admin.display(description=_("fingerprint"))
    def fingerprint_hex(self, record: IdempotencyRecord) -> str:
        return bytes(record.fingerprint).hex()

    @admin.display(description=_("body"))
    def body_text(self, record: IdempotencyRecord) -> str:
        return _shown(record.body, record.body_key_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyRecord]:
        return super().get_queryset(request).defer("body", "request_body")

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


def _shown(body: bytes | memoryview | None, key_id: str) -> str:
    """Text, which the template escapes: a stored page must not run in the staff's browser."""
    if key_id:
        return str(_("encrypted under key {key_id}").format(key_id=key_id))
    text = bytes(body or b"").decode(errors="backslashreplace")
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
