"""Whether the table keeps its size while records come and go, with the vacuum that the docs ask for."""

from dataclasses import dataclass

from django.db import connections

from benchmarks.databases import ask, run
from benchmarks.purging import Purging
from benchmarks.records import TABLE, answered_key, copy_record
from benchmarks.variants import LARGE

CYCLES = 3
HOURS = 20
"""Of the life of a record: in the middle its answer expires, at the end its key is forgotten. All goes by the hour."""
COPY = "records_without_a_past"

# What docs/howto/operating.md asks for. Where autovacuum is off, it is done here when autovacuum would do it.
SETTINGS = """
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.02,
    toast.autovacuum_vacuum_scale_factor = 0.01
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """The table with its indexes, in bytes."""

    records: int
    live: int
    """In a table that has never held anything else than the records that are there at the end of a cycle."""
    largest: list[int]
    """The most that was seen in each cycle."""

    @property
    def ratio(self) -> float:
        return max(self.largest) / self.live


def go_round(records: int, process: Purging) -> Cycles:
    """So many records at a time, all of them new in each cycle."""
    run("large", f"TRUNCATE {TABLE}")
    run("large", f"ALTER TABLE {TABLE} SET ({SETTINGS})")
    started = ask("large", "SELECT statement_timestamp()::text")
    sizes = [an_hour(hour, records // HOURS, started, process) for hour in range(HOURS * (CYCLES + 1))]
    live = size_of_the_living()
    cycles = [sizes[HOURS * number : HOURS * (number + 1)] for number in range(1, CYCLES + 1)]
    return Cycles(records=records, live=live, largest=[max(cycle) for cycle in cycles])


def an_hour(hour: int, records: int, started: str, process: Purging) -> int:
    """New records, a purge by the clock of that hour, a vacuum; the size before the vacuum."""

    def after(hours: int) -> str:
        return f"'{started}'::timestamptz + interval '{hours} hours'"

    times = {"expires_at": after(hour + HOURS // 2), "forget_at": after(hour + HOURS)}
    key = answered_key(LARGE)
    copy_record("large", records, key, overrides=times)
    # The real one would live by another clock.
    run("large", f"DELETE FROM {TABLE} WHERE key = %s", (key,))
    process.begin(hours_ahead=hour)
    process.ended()
    found = size(TABLE)
    with connections["large"].cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {TABLE}")
    return found


def size_of_the_living() -> int:
    run("large", f"CREATE TABLE {COPY} (LIKE {TABLE} INCLUDING ALL)")
    columns = ask(
        "large",
        "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute"
        f" WHERE attrelid = '{TABLE}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
    )
    run("large", f"INSERT INTO {COPY} ({columns}) SELECT {columns} FROM {TABLE} ORDER BY claimed_at")
    found = size(COPY)
    run("large", f"DROP TABLE {COPY}")
    return found


def size(table: str) -> int:
    return int(ask("large", f"SELECT pg_total_relation_size('{table}')"))
