"""Everything to look at, nothing to change: money moves through the API."""

from django.contrib import admin
from django.http import HttpRequest

from .models import Account, LedgerEntry, Payment, Refund


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ["name", "owner", "currency", "balance"]


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = ["id", "account", "amount", "currency", "card_last4", "status", "charge", "receipts"]
    list_filter = ["status", "account"]


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    list_display = ["id", "payment", "amount", "transfer", "created_at"]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = ["id", "account", "payment", "refund", "amount", "created_at"]
    list_filter = ["account"]
