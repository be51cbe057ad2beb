"""The command: one line for each vector, as TAP; 0 when all are met, else 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from .catalogue import Vector, vectors
from .runner import Failed, Skipped, run
from .wire import Server


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m django_idempotency.conformance",
        description="Tell whether a server that mounts the fixture routes treats idempotency keys as it should.",
    )
    parser.add_argument("url", nargs="?", type=_server, help="where the fixture routes are mounted")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="vectors whose names begin so")
    parser.add_argument("--list", action="store_true", help="name the vectors and their sources; send nothing")
    options = parser.parse_args(arguments)
    chosen = vectors(options.only)
    if not chosen:
        parser.error(f"no vector begins with {' or '.join(options.only)}")
    if options.list:
        return _write(f"{vector.name}: {vector.title} [{vector.sources}]" for vector in chosen)
    if options.url is None:
        parser.error("the URL is missing")
    return _write(_tap(options.url, chosen))


def _server(url: str) -> Server:
    try:
        return Server(url)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _write(lines: Iterator[str]) -> int:
    failed = 0
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        failed += line.startswith(("not ok", "Bail out!"))
    return 1 if failed else 0


def _tap(server: Server, chosen: list[Vector]) -> Iterator[str]:
    yield "TAP version 14"
    yield f"1..{len(chosen)}"
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        server.effects("conformance", "alice")
        for number, vector in enumerate(chosen, 1):
            outcome, *lines = _outcome(number, vector, server)
            counts[outcome] += 1
            yield from lines
    except (OSError, LookupError) as exc:
        yield f"Bail out! {exc}"
        return
    yield "# " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _outcome(number: int, vector: Vector, server: Server) -> list[str]:
    line = f"ok {number} - {vector.name}: {vector.title}"
    try:
        run(vector, server)
    except Skipped as exc:
        return ["skipped", f"{line} # SKIP {exc}"]
    except (Failed, LookupError, OSError) as exc:
        return ["failed", f"not {line}", f"  # {exc}", f"  # See {vector.sources}."]
    return ["passed", line]


if __name__ == "__main__":
    sys.exit(main())
