from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency.management import unreached
from django_idempotency.management.progress import Progress, counts
from django_idempotency.rotation import rekey


class Command(BaseCommand):
    help = "Encrypt everything that is stored under the newest of the ENCRYPTION_KEYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count what would be encrypted anew")
        parser.add_argument("--database", choices=list(connections), help="only in this database; without it, in all")

    def handle(self, **options: Any) -> None:
        try:
            rekeyed = rekey(
                using=options["database"],
                dry_run=options["dry_run"],
                progress=Progress(self.stderr, options["verbosity"]),
            )
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        if options["verbosity"] > 0:
            self.stdout.write(f"{'would rekey' if options['dry_run'] else 'rekeyed'}: {counts(rekeyed)}")
        advice = "To read them, keep the old key until their RETENTION has passed since it ceased to be the first."
        unreached.warn(self, options["verbosity"], advice, encrypted=True)
        if rekeyed.lost:
            raise CommandError(f"{rekeyed.lost} cannot be read: put their keys back into ENCRYPTION_KEYS.")
