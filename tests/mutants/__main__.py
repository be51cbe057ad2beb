"""`python -m tests.mutants [name or area...]`: the mutants and the tests that caught them; 1 if one survives."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import (
    acts,
    answers,
    audit,
    cache,
    celery,
    client,
    coroutines,
    desk_acts,
    desk_dashboard,
    desk_incidents,
    desk_requests,
    doors,
    gateways,
    incidents,
    operation_boundaries,
    operation_upkeep,
    operations,
    outbox,
    promises,
    purge,
    redis,
    replays,
    resolution,
    stored_requests,
    telemetry,
    testing,
)
from tests.mutants.mariadb import ON_MARIADB
from tests.mutants.mutations import MUTANTS, PACKAGE, Edit, Mutant
from tests.support import services

ROOT = Path(__file__).resolve().parents[2]
AREAS = {
    "core": MUTANTS,
    "mariadb": ON_MARIADB,
    "coroutines": coroutines.MUTANTS,
    "stored_requests": stored_requests.MUTANTS,
    "incidents": incidents.MUTANTS,
    "operations": [*operations.MUTANTS, *operation_upkeep.MUTANTS, *operation_boundaries.MUTANTS],
    "promises": promises.MUTANTS,
    "purge": purge.MUTANTS,
    "cache": cache.MUTANTS,
    "celery": celery.MUTANTS,
    "client": client.MUTANTS,
    "desk_acts": desk_acts.MUTANTS,
    "desk_dashboard": desk_dashboard.MUTANTS,
    "desk_incidents": desk_incidents.MUTANTS,
    "desk_requests": desk_requests.MUTANTS,
    "doors": doors.MUTANTS,
    "outbox": outbox.MUTANTS,
    "resolution": [*resolution.MUTANTS, *acts.MUTANTS],
    "audit": audit.MUTANTS,
    "redis": redis.MUTANTS,
    "replays": [*replays.MUTANTS, *answers.MUTANTS],
    "gateways": gateways.MUTANTS,
    "telemetry": telemetry.MUTANTS,
    "testing": testing.MUTANTS,
}
PARALLEL = 2
TESTS_FAILED = 1
"""pytest's exit code; any other failure means that nothing was tested."""
# Code or SQL that does not run at all takes no guarantee out.
BROKEN = re.compile(r"^E  .*\b(SyntaxError|ImportError|NameError|ProgrammingError)\b", re.MULTILINE)


def unchanged(mutants: list[Mutant]) -> list[Mutant]:
    """The code as it is. Were it not green, a red mutant would prove nothing."""
    groups: dict[tuple[str, bool], list[Mutant]] = {}
    for mutant in mutants:
        groups.setdefault((mutant.database, bool(mutant.only)), []).append(mutant)
    return [
        Mutant(
            f"(unchanged, on {database})",
            (),
            tuple(sorted({path for mutant in group for path in mutant.tests})),
            only=" or ".join(sorted({f"({mutant.only})" for mutant in group if mutant.only})),
            database=database,
        )
        for (database, _), group in groups.items()
    ]


def possible() -> list[Mutant]:
    """Those that can be tried here."""
    missing = services.mariadb_is_missing()
    if missing and os.environ.get("REQUIRE_SERVICES") == "1":
        raise SystemExit(f"MariaDB is required and cannot be had: {missing}")
    if missing:
        print(f"SKIPPED without MariaDB: {missing}")
    mutants = [mutant for area in AREAS.values() for mutant in area]
    return [mutant for mutant in mutants if not missing or mutant.database != "mariadb"]


def expanded(names: list[str]) -> set[str]:
    """The names of mutants that these names of mutants and areas stand for."""
    return {name for given in names for name in ([mutant.name for mutant in AREAS.get(given, ())] or [given])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    code: int
    red: list[str]
    seconds: float
    output: str


def mutated(edit: Edit, root: Path) -> None:
    path = root / edit.path
    source = path.read_text()
    if source.count(edit.old) != 1:
        raise SystemExit(f"{edit.path} has {source.count(edit.old)} times, not once: {edit.old!r}")
    path.write_text(source.replace(edit.old, edit.new))


def copied(mutant: Mutant, root: Path) -> None:
    """A copy of all that the tests need, so that whatever they start imports the mutant."""
    for name in (PACKAGE, "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for edit in mutant.edits:
        mutated(edit, root)


def tried(mutant: Mutant) -> Result:
    with tempfile.TemporaryDirectory(prefix="idempotency-mutant-") as home:
        root = Path(home)
        copied(mutant, root)
        chosen = ["-k", mutant.only] if mutant.only else []
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests, *chosen]
        environment = {**os.environ, "IDEMPOTENCY_TEST_DB": mutant.database, "PYTHONPATH": str(root)}
        started = time.monotonic()
        run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
    failed = (line.split(" - ")[0] for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR tests")))
    red = [line.rpartition("::")[2] for line in failed]
    return Result(mutant=mutant, code=run.returncode, red=red, seconds=seconds, output=run.stdout + run.stderr)


def right(result: Result) -> bool:
    if not result.mutant.edits:
        return result.code == 0
    return result.code == TESTS_FAILED and not BROKEN.search(result.output)


def told(result: Result) -> str:
    if result.mutant.edits and BROKEN.search(result.output):
        return f"! {result.mutant.name:<44} the mutant itself does not run"
    verdict = ", ".join(result.red) or ("green" if result.code == 0 else f"pytest ended with {result.code}")
    mark = " " if right(result) else "!"
    return f"{mark} {result.mutant.name:<44} {verdict[:100]:<100} {result.seconds:5.1f}"


def main(names: list[str]) -> int:
    wanted = expanded(names)
    chosen = [mutant for mutant in possible() if not names or mutant.name in wanted]
    if unknown := wanted - {mutant.name for mutant in chosen}:
        raise SystemExit(f"no such mutant: {', '.join(sorted(unknown))}")
    with ThreadPoolExecutor(PARALLEL) as pool:
        # The long ones first.
        results = list(pool.map(reported, [*unchanged(chosen), *chosen]))
    wrong = [result for result in map(once_more, results) if not right(result)]
    for result in wrong:
        print(f"\n{result.mutant.name}:\n{result.output[-3000:]}")
    print(f"{len(chosen)} mutants, {len(wrong)} wrong")
    return 1 if wrong else 0


def once_more(result: Result) -> Result:
    """A wrong one tried again, alone and in sight of the reader: beside another run, a race may not have come about."""
    if right(result):
        return result
    print(f"once more, alone: {result.mutant.name}")
    return reported(result.mutant)


def reported(mutant: Mutant) -> Result:
    result = tried(mutant)
    print(told(result), flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
