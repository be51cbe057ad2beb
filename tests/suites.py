"""`python -m tests.suites [arguments of pytest]`: the suite on all databases at once; 1 unless all are green."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.support import services

AT_ONCE = 5
"""They share nothing but the machine, and half of them mostly wait: for processes to start, and to be killed."""
SHARES = ("slow", "not slow")
NOTHING_CHOSEN = 5
"""pytest's exit code where a selection has chosen nothing."""

# They ask no database, or always the same one.
ONCE = [
    *("conformance", "core", "gateways", "model", "openapi", "test_architecture.py", "test_conf.py", "test_demo.py"),
    *("test_mutants.py", "test_packaging.py", "testing/test_documentation.py", "testing/test_plugin.py"),
]


class Job(NamedTuple):
    database: str
    arguments: list[str]
    traced: bool
    """Whether its coverage is measured, which takes the processor as long again as the tests themselves."""


def databases() -> list[str]:
    """Those that can be had, the one that takes longest first."""
    missing = services.mariadb_is_missing()
    if missing and os.environ.get("REQUIRE_SERVICES") == "1":
        raise SystemExit(f"MariaDB is required and cannot be had: {missing}")
    if missing:
        print(f"SKIPPED without MariaDB: {missing}")
    return ["postgresql", "sqlite", *([] if missing else ["mariadb"])]


def jobs(arguments: list[str]) -> list[Job]:
    """What was asked for on each database; else all of the suite, in shares."""
    found = databases()
    shares = [arguments] if arguments else [["-m", share] for share in SHARES]
    # One share of each database: what SQLite alone comes to is little, and its slow tests come to most of that.
    all_of_them = [
        Job(database, share, traced=bool(arguments) or (share[-1] == "slow") == (database == "sqlite"))
        for share in shares
        for database in found
    ]
    return all_of_them if arguments else [*all_of_them, Job("sqlite", [f"tests/{path}" for path in ONCE], traced=True)]


def run(job: Job) -> int:
    """Run a share of the suite on one database, and print what it has said; pytest's exit code."""
    tracing = ["coverage", "run", "-m"] if job.traced else []
    environment = {**os.environ, "IDEMPOTENCY_TEST_DB": job.database, "IDEMPOTENCY_TEST_ONCE": "elsewhere"}
    begun = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", *tracing, "pytest", *job.arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begun
    share = f"{job.database} {' '.join(job.arguments)}"
    print(f"\n--- {share}\n{ended.stdout}--- {share} ended with {ended.returncode} after {seconds:.0f} s", flush=True)
    return ended.returncode


def main(arguments: list[str]) -> int:
    fine = {0, NOTHING_CHOSEN} if arguments else {0}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = set(pool.map(run, jobs(arguments)))
    return 0 if codes <= fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
