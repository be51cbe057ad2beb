from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from django_idempotency.permissions import MissingPermissions, make_groups


class Command(BaseCommand):
    help = "Make groups of users for support, on-call, finance, approvers and auditors, or give them what they lack."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database", choices=list(connections), default=DEFAULT_DB_ALIAS, help="where the users are; default"
        )

    def handle(self, **options: Any) -> None:
        try:
            made = make_groups(using=options["database"])
        except MissingPermissions as exc:
            raise CommandError(str(exc)) from exc
        if options["verbosity"] > 0:
            self.stdout.writelines(f"{name}: {', '.join(permissions)}\n" for name, permissions in made.items())
