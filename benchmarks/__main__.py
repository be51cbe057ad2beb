"""`python -m benchmarks`: everything, or the part that is asked for."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django

from benchmarks.servers import provide_postgresql

PARTS = ("compare", "growth", "purge", "operations")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    parser.add_argument("--rounds", type=int, help="rounds of the comparisons (2000)")
    parser.add_argument("--records", type=int, help="records in the large table (5,000,000)")
    parser.add_argument("--purged", type=int, help="rows of each purge (200,000)")
    parser.add_argument("--turn", type=float, default=4.0, help="seconds of each turn of requests beside a purge (4)")
    parser.add_argument("--interrupted", type=int, help="operations to recover (10,000)")
    parser.add_argument(
        "--quick", action="store_true", help="300 rounds, 100,000 records, 20,000 purged, 1,000 recovered"
    )
    parser.add_argument("--output", type=Path, help="write the page here even if the run is shortened")
    return with_defaults(parser.parse_args())


def with_defaults(given: argparse.Namespace) -> argparse.Namespace:
    given.whole = not (given.quick or given.only or given.records or given.rounds or given.purged or given.interrupted)
    given.only = given.only or list(PARTS)
    given.rounds = given.rounds or (300 if given.quick else 2000)
    given.records = given.records or (100_000 if given.quick else 5_000_000)
    given.purged = given.purged or (20_000 if given.quick else 200_000)
    given.interrupted = given.interrupted or (1_000 if given.quick else 10_000)
    return given


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def main() -> None:
    given = arguments()
    provide_postgresql(say)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    results = measure(given)
    show(results)
    destination = where_to_write(given)
    if destination:
        from benchmarks.page import page

        destination.write_text(page(**results))
        say(f"written: {destination}")


def measure(given: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import machine
    from benchmarks.databases import fresh_database
    from benchmarks.services import forget_cached_answers

    with ExitStack() as stack:
        stack.callback(forget_cached_answers)
        stack.enter_context(fresh_database("default"))
        if {"growth", "purge"} & set(given.only):
            # Not all migrations of the other packages can be run on a second database.
            stack.enter_context(fresh_database("large", "django_idempotency"))
        return {"facts": machine.describe(), **parts(given)}


def parts(given: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.growth import grow
    from benchmarks.interrupted import recover_interrupted
    from benchmarks.latency import compare
    from benchmarks.operations import compare_operations
    from benchmarks.services import reason_to_skip
    from benchmarks.upkeep import keep_up

    results: dict[str, Any] = {}
    if "compare" in given.only:
        say(f"{given.rounds:,} rounds of new and replayed requests")
        results["compared"] = compare(given.rounds, reason_to_skip)
    if "growth" in given.only:
        results["grown"] = grow(given.rounds, given.records, say)
    if "purge" in given.only:
        results["kept_up"] = keep_up(given.purged, given.turn, say)
    if "operations" in given.only:
        rounds = given.rounds // 2
        say(f"{rounds:,} rounds of durable operations")
        results["operated"] = compare_operations(rounds)
        results["recovered"] = recover_interrupted(given.interrupted, say)
    return results


def show(results: dict[str, Any]) -> None:
    from benchmarks import report

    renderers = {
        "facts": report.machine,
        "compared": report.both_comparisons,
        "grown": report.growth,
        "kept_up": report.upkeep,
        "operated": report.operations,
        "recovered": report.recovery,
    }
    for name, result in results.items():
        print(f"\n{renderers[name](result)}")


def where_to_write(given: argparse.Namespace) -> Path | None:
    from benchmarks.page import DESTINATION

    complete = set(given.only) == set(PARTS)
    if given.output and not complete:
        say("not written: a page needs every part")
    if not complete:
        return None
    return given.output or (DESTINATION if given.whole else None)


if __name__ == "__main__":
    main()
