from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connections

from django_idempotency.incidents import heal


class Command(BaseCommand):
    help = "Close the incidents of requests that failed, or were abandoned, and have completed since."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", choices=list(connections), help="whose incidents; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        healed = 0
        while done := heal(database=options["database"]):
            healed += done
        if options["verbosity"] > 0:
            self.stdout.write(f"healed: {healed}")
