"""What may not surround work that no transaction can undo."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper


def refuse_transaction(fault: str) -> None:
    """
    Raises ImproperlyConfigured inside a transaction, on whatever database, and where autocommit is off: one is about to
    begin there. That of a TestCase does not count.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            if _autocommit(connection):
                continue
            raise ImproperlyConfigured(fault)
        try:
            # Django knows whether the transaction is only a test's.
            with transaction.atomic(using=connection.alias, durable=True):
                pass
        except RuntimeError as exc:
            raise ImproperlyConfigured(fault) from exc


def _autocommit(connection: BaseDatabaseWrapper) -> bool:
    """Without a connection to the database where there is none: it may be away."""
    return bool(connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit)
