from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from django_idempotency.maintenance import LARGEST_BATCH, purge
from django_idempotency.management.progress import Progress, counts


class Command(BaseCommand):
    help = "Shrink expired answers to tombstones, and delete the records whose key may be forgotten, and old incidents."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch-size", type=batch_size, default=1000, help="records per transaction (1000)")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be purged")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        purged = purge(
            using=options["database"],
            batch_size=options["batch_size"],
            dry_run=options["dry_run"],
            progress=Progress(self.stderr, options["verbosity"]),
        )
        if options["verbosity"] > 0:
            self.stdout.write(f"{'would purge' if options['dry_run'] else 'purged'}: {counts(purged)}")


def batch_size(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= LARGEST_BATCH:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {LARGEST_BATCH}, not {text!r}")
