"""Recovery in a process of its own: tells its seconds, its peak memory early on, and by how much the peak grew."""

import os
import resource
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import django

EARLY = 100


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    from django.db import connection

    connection.ensure_connection()
    peaks: list[float] = []
    started = perf_counter()
    finish_all(lambda done: peaks.append(peak()) if done == EARLY else None)
    seconds, end = perf_counter() - started, peak()
    early = peaks[0] if peaks else end
    print(seconds, early, end - early)


def finish_all(tell: Callable[[int], object]) -> None:
    from django_idempotency.operations.recovery import resume

    resume(progress=lambda resumed: tell(resumed.completed))


def peak() -> float:
    """MiB that this process had at most."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which on Linux begins with what the parent had.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
