from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from django_idempotency.management.progress import Progress, counts
from django_idempotency.rollups.rows import compact


class Command(BaseCommand):
    help = (
        "Compact the counts of the dashboard's charts from minutes to hours, and delete those that are drawn no more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", choices=list(connections), help="whose counts; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        compacted = compact(using=options["database"], progress=Progress(self.stderr, options["verbosity"]))
        if options["verbosity"] > 0:
            self.stdout.write(f"compacted: {counts(compacted)}")
