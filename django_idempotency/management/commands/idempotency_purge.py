from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from django_idempotency.maintenance import LARGEST_BATCH, Purged, purge
from django_idempotency.management.progress import Progress, counts


class Command(BaseCommand):
    help = "Shrink expired answers to tombstones, and delete the records whose key may be forgotten, and old incidents."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch-size",
            type=batch_size,
            default=LARGEST_BATCH,
            help=f"records per transaction, at most ({LARGEST_BATCH}); fewer where that would take long",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count what would be purged")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        began = time.monotonic()
        purged = purge(
            using=options["database"],
            batch_size=options["batch_size"],
            dry_run=options["dry_run"],
            progress=Progress(self.stderr, options["verbosity"]),
        )
        if options["verbosity"] > 0:
            self.stdout.write(f"{'would purge' if options['dry_run'] else 'purged'}: {counts(purged)}")
        if options["verbosity"] > 0 and not options["dry_run"]:
            self.stdout.write(rate(purged, time.monotonic() - began))


def rate(purged: Purged, seconds: float) -> str:
    """How many rows were purged a second, over all: "20,000 rows a second"."""
    return f"{sum(asdict(purged).values()) / max(seconds, 0.001):,.0f} rows a second"


def batch_size(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= LARGEST_BATCH:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {LARGEST_BATCH}, not {text!r}")
