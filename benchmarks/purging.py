"""The purge in a process of its own: says when it is ready, waits for a line, purges, tells seconds and rows."""

import os
import sys
from time import perf_counter

import django


def main(alias: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    from django.db import connections

    connections[alias].ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    started = perf_counter()
    rows = purge_everything(alias)
    print(perf_counter() - started, rows, flush=True)


def purge_everything(alias: str) -> int:
    from django_idempotency.maintenance import purge

    done = purge(using=alias)
    return done.shrunk + done.deleted


if __name__ == "__main__":
    main(sys.argv[1])
