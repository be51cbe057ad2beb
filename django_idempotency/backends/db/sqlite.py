"""SQLite: one writer at a time, so the claim, the work and the answer are always one transaction."""

from __future__ import annotations

from django.db import Error
from django.db.models import DateTimeField
from django.utils import timezone

from ...core.engine import Operation
from .dialects import Dialect
from .statements import Slot, Values, slot


class SQLite(Dialect):
    # SQLite has no server and so no clock: it is told this process's.
    now = Slot("now", DateTimeField())

    def completion(self) -> Values:
        return {name: slot(name) for name in ("completed_at", "expires_at", "forget_at")}

    def times(self, operation: Operation) -> Values:
        now = timezone.now()
        expires_at = now + operation.retention
        return {
            "now": now,
            "claimed_at": now,
            "lease_until": now + operation.lease,
            "completed_at": now,
            "expires_at": expires_at,
            "forget_at": expires_at + operation.tombstone,
        }

    def same_transaction(self, transaction: str | None) -> bool:
        """`transaction` is the savepoint round the view: it is gone once the view has ended the transaction."""
        connection = self.connection
        if transaction is None or connection.closed_in_transaction:
            return True  # rolled back as a whole
        try:
            # Past Django, which refuses all statements in a transaction that is marked for rollback.
            with connection.wrap_database_errors:
                connection.create_cursor().execute(connection.ops.savepoint_commit_sql(transaction))
        except Error:
            return False
        return True

    intact = same_transaction
