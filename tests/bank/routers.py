"""A site that keeps its money, and so its keys, in another database than the rest."""

from typing import Any

APART = {"bank", "django_idempotency"}


class BankRouter:
    """Sends the bank and the records to `other`."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return "other" if model._meta.app_label in APART else None  # type: ignore[attr-defined]

    db_for_write = db_for_read
