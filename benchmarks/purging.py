"""The purge in a process of its own: for each line it purges, or only computes in the same rhythm, and tells."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from time import perf_counter, sleep

import django


def main(alias: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    from django.db import connections

    connections[alias].ensure_connection()
    print("ready", flush=True)
    for line in sys.stdin:
        started = perf_counter()
        what, seconds, hours_ahead = line.split()
        rows = purged(alias, float(seconds), int(hours_ahead)) if what == "purge" else computed(float(seconds))
        print(perf_counter() - started, rows, flush=True)


def purged(alias: str, seconds: float, hours_ahead: int) -> int:
    from django_idempotency.maintenance import due, purge

    by_the_clock = due.ago
    due.ago = lambda records, age: by_the_clock(records, age - timedelta(hours=hours_ahead))
    done = purge(using=alias, seconds=seconds)
    due.ago = by_the_clock
    return done.shrunk + done.deleted


def computed(seconds: float) -> int:
    """What a machine's unrest is measured by: no database, no disk, and as much of a processor as a purge may have."""
    from django_idempotency.maintenance.pace import BESIDE_OTHERS, REST

    end = perf_counter() + seconds
    while (now := perf_counter()) < end:
        while perf_counter() < now + BESIDE_OTHERS:
            pass
        sleep(REST * BESIDE_OTHERS)
    return 0


class Purging:
    """The other side: whoever wants something purged."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.process.stdout.readline()

    def begin(self, seconds: float = inf, *, hours_ahead: int = 0) -> None:
        """Let it purge, all or for so long, as if it were so much later."""
        self._tell(f"purge {seconds} {hours_ahead}")

    def compute(self, seconds: float) -> None:
        """Let it only compute for so long, in the rhythm of a purge beside others."""
        self._tell(f"compute {seconds} 0")

    def ended(self) -> tuple[float, int]:
        """For how many seconds it was at work, and on how many rows."""
        seconds, rows = self.process.stdout.readline().split()
        return float(seconds), int(rows)

    def _tell(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


@contextmanager
def purging(alias: str) -> Iterator[Purging]:
    command = [sys.executable, "-m", "benchmarks.purging", alias]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Purging(process)
        process.stdin.close()


if __name__ == "__main__":
    main(sys.argv[1])
