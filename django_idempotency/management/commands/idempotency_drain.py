from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from django_idempotency.management.progress import Progress, counts
from django_idempotency.outbox.drains import LARGEST_BATCH, drain


class Command(BaseCommand):
    help = "Send the messages of the outbox that are due, and tell how many cannot be sent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--batch-size", type=batch_size, default=100, help="messages taken at once (100)")
        parser.add_argument(
            "--database", choices=list(connections), help="whose messages; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        drained = drain(
            using=options["database"],
            batch_size=options["batch_size"],
            progress=Progress(self.stderr, options["verbosity"]),
        )
        if options["verbosity"] > 0:
            self.stdout.write(f"drained: {counts(drained)}")


def batch_size(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= LARGEST_BATCH:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {LARGEST_BATCH}, not {text!r}")
