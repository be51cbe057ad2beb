from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency import resolution
from django_idempotency.maintenance import records_in
from django_idempotency.management.acting import act_of
from django_idempotency.management.commands.idempotency_show import printable

OF_RECORD = ("scope", "key", "method", "path", "state", "claim", "token", "operation", "claimed_at", "lease_until")


class Command(BaseCommand):
    help = "Free the key of a request whose process has died; without --claim, show the record."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=UUID, help="the record's id")
        parser.add_argument("--claim", type=int, help="the record's, as it was shown")
        parser.add_argument("--reason", default="", help="why it is freed")
        parser.add_argument("--by", default="", help="who says so")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        record_id, claim, database = options["id"], options["claim"], options["database"]
        if claim is None:
            self.stdout.write(shown(record_id, database))
            return
        given = {"claim": claim, "reason": options["reason"], "using": database}
        act_of(options["by"], lambda actor: resolution.release(record_id, actor=actor, **given))
        if options["verbosity"] > 0:
            self.stdout.write("released")


def shown(record_id: UUID, database: str | None) -> str:
    row = records_in(database).filter(pk=record_id).values(*OF_RECORD).first()
    if row is None:
        raise CommandError(f"There is no record {record_id}.")
    return "\n".join(f"{name:<12} {printable(str(value))}" for name, value in row.items() if value not in (None, ""))
