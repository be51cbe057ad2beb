"""
How PostgreSQL's test databases are emptied, and go.

Between tests by DELETE: TRUNCATE gives each table a new file, a tenth of a second for all. In the end by force: the thread
of a coroutine may have left a connection open, and no test is wrong for that.
"""

from typing import Any

import pytest


def delete_instead_of_truncate(patch: pytest.MonkeyPatch) -> None:
    """Let Django's flush, which follows each test with transactions of its own, be one message of DELETEs."""
    from django.db.backends.postgresql.operations import DatabaseOperations

    def sql_flush(self: Any, style: Any, tables: list[str], **options: Any) -> list[str]:
        return ["; ".join(f"DELETE FROM {self.quote_name(table)}" for table in tables)] if tables else []

    patch.setattr(DatabaseOperations, "sql_flush", sql_flush)


def drop_by_force(patch: pytest.MonkeyPatch) -> None:
    from django.db.backends.postgresql.creation import DatabaseCreation

    def destroy(self: Any, name: str, verbosity: int) -> None:
        with self._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {self.connection.ops.quote_name(name)} WITH (FORCE)")

    patch.setattr(DatabaseCreation, "_destroy_test_db", destroy)
