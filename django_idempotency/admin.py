from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from .models import IdempotencyRecord

if TYPE_CHECKING:
    RecordAdminBase = admin.ModelAdmin[IdempotencyRecord]
else:
    RecordAdminBase = admin.ModelAdmin

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
        """Text, which the template escapes: a stored page must not run in the staff's browser."""
        text = bytes(record.body or b"").decode(errors="backslashreplace")
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"

    def get_queryset(self, request: HttpRequest) -> QuerySet[IdempotencyRecord]:
        return super().get_queryset(request).defer("body")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[IdempotencyRecord], search_term: str
    ) -> tuple[QuerySet[IdempotencyRecord], bool]:
        """Exact, so that the index serves it, and in one piece: a key may contain spaces."""
        return (queryset.filter(key=search_term) if search_term else queryset), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: IdempotencyRecord | None = None) -> bool:
        return False
