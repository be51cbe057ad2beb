"""A table of records that has been in use for a while, without waiting for it."""

import uuid
from collections.abc import Callable

from django.db import connections

from benchmarks.databases import ask, run
from benchmarks.variants import Variant
from django_idempotency.models import IdempotencyRecord

TABLE = IdempotencyRecord._meta.db_table
BATCH = 50_000
TIMES = ("claimed_at", "completed_at", "expires_at", "forget_at")

# Whatever is not named here is taken over from a record that a real request has left.
FRESH = {
    "id": "gen_random_uuid()",
    "key": "gen_random_uuid()::text",
    "claim": "(random() * 9e18)::bigint",
    **{name: f"template.{name} - age" for name in TIMES},
}


def fill(alias: str, variant: Variant, count: int, say: Callable[[str], None]) -> list[str]:
    """
    The keys of real requests, a hundred lots of them strewn among the copies.

    They are what is replayed later: rows that lie anywhere in the table.
    """
    run(alias, f"TRUNCATE {TABLE}")
    keys: list[str] = []
    lot = min(BATCH, max(count // 100, 100))
    for done in range(0, count, lot):
        keys += [answered_key(variant) for _ in range(20)]
        copy_record(alias, lot - 20, keys[-1])
        if done % 1_000_000 == 0:
            say(f"{done:,} of {count:,} records")
    settle(alias)
    return keys


def answered_key(variant: Variant) -> str:
    key = str(uuid.uuid4())
    variant.client.post(key)
    return key


def copy_record(alias: str, count: int, key: str, *, overrides: dict[str, str] | None = None) -> int:
    """Copies of the record of that key, as other requests of the last two days would have left them: the oldest first."""
    values = FRESH | (overrides or {})
    fields = IdempotencyRecord._meta.concrete_fields
    columns = [field.column for field in fields if not field.generated]
    wanted = ", ".join(values.get(column, f"template.{column}") for column in columns)
    return run(
        alias,
        f"""
        INSERT INTO {TABLE} ({", ".join(columns)})
        SELECT {wanted}
        FROM (SELECT number * interval '48 hours' / %s AS age FROM generate_series(%s, 1, -1) AS number) AS past,
             (SELECT * FROM {TABLE} WHERE key = %s) AS template
        """,
        (count, count, key),
    )


def settle(alias: str) -> None:
    """Leave no work behind that a running server would have done long ago."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {TABLE}")
        cursor.execute("CHECKPOINT")


def size(alias: str) -> str:
    return ask(alias, f"SELECT pg_size_pretty(pg_total_relation_size('{TABLE}'))")
