from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency.maintenance import records_in
from django_idempotency.models import IdempotencyRecord
from django_idempotency.payloads import compact, content_type, masked, masked_headers

COLUMNS = [
    *("id", "namespace", "scope", "key", "state", "token", "method", "path", "status", "headers"),
    *("claimed_at", "completed_at", "expires_at", "forget_at"),
]


class Command(BaseCommand):
    help = "Show what is remembered of a key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="the key exactly as the client means it, without the header's quotation marks")
        parser.add_argument("--scope", help="only this scope, such as user:7")
        parser.add_argument("--namespace", help="only this namespace")
        parser.add_argument("--body", action="store_true", help="show the stored answers too, masked")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        given = {name: options[name] for name in ("key", "scope", "namespace") if options[name] is not None}
        hidden = [] if options["body"] else ["body"]
        records = records_in(options["database"]).filter(**given).defer(*hidden).order_by("pk")
        # MariaDB also finds keys that differ in case or in spaces at the end.
        exact = [record for record in records if all(getattr(record, name) == text for name, text in given.items())]
        found = [described(record, with_body=options["body"]) for record in exact]
        if not found:
            raise CommandError("Nothing is remembered of " + ", ".join(f"{k} {v!r}" for k, v in given.items()) + ".")
        self.stdout.write("\n\n".join(found))


def described(record: IdempotencyRecord, *, with_body: bool) -> str:
    answered = json.dumps(masked_headers(record.headers), ensure_ascii=False) if record.headers else ""
    values = [(name, answered if name == "headers" else getattr(record, name)) for name in COLUMNS]
    lines = [f"{name:<12} {printable(str(value))}" for name, value in values if value not in (None, "")]
    if with_body and record.body is not None:
        lines += ["body", shown(record)]
    return "\n".join(lines)


def shown(record: IdempotencyRecord) -> str:
    """The stored answer, masked; what is encrypted stays so: a terminal keeps what it has shown, and records no reason."""
    if record.body_key_id:
        return f"(encrypted under key {record.body_key_id})"
    kind = content_type(record.headers)
    text = compact(record.body, "", kind)
    return printable(str(masked(record.body, "", kind)) if text is None else text)


def printable(text: str) -> str:
    """What a client has sent must not command the terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)
