from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency.erasure import erase
from django_idempotency.management import unreached
from django_idempotency.management.progress import Progress, counts


class Command(BaseCommand):
    help = "Erase the stored requests and answers of one scope. Its keys stay, so nothing can run a second time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--scope", required=True, help="whose, exactly, such as user:7")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be erased")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        erased = erase(
            options["scope"],
            using=options["database"],
            dry_run=options["dry_run"],
            progress=Progress(self.stderr, options["verbosity"]),
        )
        if options["verbosity"] > 0:
            self.stdout.write(f"{'would erase' if options['dry_run'] else 'erased'}: {counts(erased)}")
        unreached.warn(self, options["verbosity"], "What their answers say goes when their RETENTION ends.")
        if erased.held and not options["dry_run"]:
            raise CommandError(f"{erased.held} are in use and were left: run this again when they have ended.")
