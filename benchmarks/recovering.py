"""Recovery in a process of its own: tells its seconds, its peak memory early on, and by how much the peak grew."""

import os
import resource
import sys
from collections.abc import Callable
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
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
