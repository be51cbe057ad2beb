"""
What requests and the purge cost PostgreSQL, in time of its processor: on a busy machine that says more than the clock.

`python -m benchmarks.costs`. The log is counted for the whole server, so give it one of its own.
"""

import os
from collections.abc import Callable
from pathlib import Path

import django

ROUNDS = 3000
RECORDS = 500_000
PURGED = 300_000


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    from benchmarks.databases import fresh_database

    with fresh_database("large", "django_idempotency"):
        measure()


def measure() -> None:
    from benchmarks.databases import ask
    from benchmarks.records import TABLE, answered_key, copy_record, settle
    from benchmarks.variants import LARGE

    key = answered_key(LARGE)
    copy_record("large", RECORDS, key)
    settle("large")
    for _ in range(300):
        answered_key(LARGE)
    told("new request", ROUNDS, lambda: [answered_key(LARGE) for _ in range(ROUNDS)])
    told("replay", ROUNDS, lambda: [LARGE.client.post(key) for _ in range(ROUNDS)])
    total = int(ask("large", f"SELECT pg_total_relation_size('{TABLE}')"))
    print(f"record with its answer: {total / int(ask('large', f'SELECT count(*) FROM {TABLE}')):.0f} bytes")
    purges()


def purges() -> None:
    from benchmarks.cycles import size_of_the_living
    from benchmarks.databases import ask, run
    from benchmarks.records import TABLE
    from benchmarks.upkeep import expire_answers, forget_tombstones
    from django_idempotency.maintenance import purge

    expire_answers(PURGED)
    told("shrinking", PURGED, lambda: purge(using="large"))
    run("large", f"DELETE FROM {TABLE} WHERE state <> 'tombstone'")
    left = int(ask("large", f"SELECT count(*) FROM {TABLE}"))
    print(f"tombstone: {size_of_the_living() / left:.0f} bytes")
    forget_tombstones(PURGED)
    told("deleting", PURGED, lambda: purge(using="large"))


def told(name: str, count: int, work: Callable[[], object]) -> None:
    """Print what one of so many things costs."""
    from benchmarks.databases import ask

    server = int(ask("large", "SELECT pg_backend_pid()"))
    seconds, log = busy(server), written()
    work()
    seconds, log = busy(server) - seconds, written() - log
    print(
        f"{name}: {seconds / count * 1e6:.1f} us of the server's processor, {log / count:.0f} bytes of log", flush=True
    )


def busy(process: int) -> float:
    """For how many seconds a process of this machine has been at work."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def written() -> int:
    from benchmarks.databases import ask

    return int(ask("large", "SELECT pg_current_wal_insert_lsn() - '0/0'"))


if __name__ == "__main__":
    main()
