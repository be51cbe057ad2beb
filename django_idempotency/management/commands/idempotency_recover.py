from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from django_idempotency.maintenance import recover
from django_idempotency.management.progress import Progress, counts
from django_idempotency.operations.recovery import resume

# Times further back than this lie outside what some databases can compute with.
LONGEST = timedelta(days=3650)


class Command(BaseCommand):
    help = "Release the claims that a dead process has left, and go on with the durable operations that are due."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=seconds,
            default=timedelta(minutes=5),
            metavar="SECONDS",
            help="leave younger claims alone (300; never less than 1)",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count what would be recovered")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        how = {
            "using": options["database"],
            "dry_run": options["dry_run"],
            "progress": Progress(self.stderr, options["verbosity"]),
        }
        recovered = recover(older_than=options["older_than"], **how)
        resumed = resume(**how)
        if options["verbosity"] > 0:
            done = ("would recover", "would resume") if options["dry_run"] else ("recovered", "resumed")
            self.stdout.write(f"{done[0]}: {counts(recovered)}\n{done[1]}: {counts(resumed)}")


def seconds(text: str) -> timedelta:
    longest = int(LONGEST.total_seconds())
    if text.isdecimal() and int(text) <= longest:
        return timedelta(seconds=int(text))
    raise argparse.ArgumentTypeError(f"must be a whole number of seconds from 0 to {longest}, not {text!r}")
