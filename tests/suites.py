"""`python -m tests.suites [arguments of pytest]`: the suite on each database, two at a time; 1 unless all are green."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support import services

AT_ONCE = 2
"""They share nothing but the machine, and mostly wait."""
NOTHING_CHOSEN = 5
"""pytest's exit code where a selection has chosen nothing."""


def databases() -> list[str]:
    """Those that can be had, the one that takes longest first."""
    missing = services.mariadb_is_missing()
    if missing and os.environ.get("REQUIRE_SERVICES") == "1":
        raise SystemExit(f"MariaDB is required and cannot be had: {missing}")
    if missing:
        print(f"SKIPPED without MariaDB: {missing}")
    return ["postgresql", "sqlite", *([] if missing else ["mariadb"])]


def run(database: str, arguments: list[str]) -> int:
    """Run the suite on one database, and print what it has said; pytest's exit code."""
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]
    environment = {**os.environ, "IDEMPOTENCY_TEST_DB": database}
    begun = time.monotonic()
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    seconds = time.monotonic() - begun
    print(
        f"\n--- {database}\n{ended.stdout}--- {database} ended with {ended.returncode} after {seconds:.0f} s",
        flush=True,
    )
    return ended.returncode


def main(arguments: list[str]) -> int:
    fine = {0, NOTHING_CHOSEN} if arguments else {0}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = set(pool.map(lambda database: run(database, arguments), databases()))
    return 0 if codes <= fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
