from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency import resolution
from django_idempotency.maintenance import records_in
from django_idempotency.management.acting import act_of
from django_idempotency.management.commands.idempotency_show import printable
from django_idempotency.models import IdempotencyRecord, IdempotencyStep

OF_RECORD = ("operation", "method", "path", "state", "token", "resumes", "claimed_at", "lease_until", "resume_at")

OUTCOMES: dict[str, Callable[..., None]] = {
    "approved": resolution.approved,
    "declined": resolution.declined,
    "returned": resolution.returned,
    "happened": resolution.happened,
}


class Command(BaseCommand):
    help = "Show a record of unknown outcome; with what a person has found out about it, record that."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=UUID, help="the record's id, as the client was told it")
        found = parser.add_mutually_exclusive_group()
        found.add_argument("--approved", metavar="REFERENCE", help="the gateway has approved the call")
        found.add_argument("--declined", metavar="REASON", help="the gateway has declined the call")
        found.add_argument("--returned", type=as_json, metavar="JSON", help="the call has come to this")
        found.add_argument(
            "--happened", type=int, metavar="STATUS", help="a view has taken effect; with --body, its answer"
        )
        found.add_argument("--never-happened", action="store_true", help="close the key for good")
        found.add_argument("--go-on", action="store_true", help="let it go on, once the code was mended")
        parser.add_argument("--amount", type=int, help="of an approval, in minor units, where the call does not say")
        parser.add_argument("--currency", help="of an approval, where the call does not say")
        parser.add_argument(
            "--body", type=as_json, metavar="JSON", default="{}", help="of the answer of what has happened"
        )
        parser.add_argument("--reference", default="", help="of what has happened, such as the payment's id")
        parser.add_argument("--evidence", default="", help="how that is known")
        parser.add_argument("--by", default="", help="who says so")
        parser.add_argument("--token", type=int, help="only while it is as it was shown with this token")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        act = chosen(options)
        if act is None:
            self.stdout.write(shown(options["id"], options["database"]))
            return
        said = {name: options[name] for name in ("evidence", "token")}
        record_id, using = options["id"], options["database"]
        act_of(options["by"], lambda actor: act(record_id, **said, actor=actor, using=using))
        if options["verbosity"] > 0:
            self.stdout.write("recorded")


def chosen(options: dict[str, Any]) -> Any:
    """The act that was asked for; None where none was."""
    for name, act in OUTCOMES.items():
        if options[name] is not None:
            return partial(act, **given(name, options))
    if options["never_happened"]:
        return resolution.never_happened
    return resolution.go_on if options["go_on"] else None


def given(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """What one of the outcomes takes besides the evidence."""
    match name:
        case "approved":
            return {"reference": options["approved"], "amount": options["amount"], "currency": options["currency"]}
        case "declined":
            return {"refusal": options["declined"]}
        case "returned":
            return {"result": json.loads(options["returned"])}
        case _:
            return {"status": options["happened"], "body": options["body"], "reference": options["reference"]}


def as_json(text: str) -> str:
    try:
        json.dumps(json.loads(text), allow_nan=False)
    except (ValueError, RecursionError):
        raise argparse.ArgumentTypeError("must be JSON") from None
    return text


def shown(record_id: UUID, database: str | None) -> str:
    records = records_in(database)
    record = records.filter(pk=record_id).defer("body", "request_body", "operation_input").first()
    if record is None:
        raise CommandError(f"There is no record {record_id}.")
    steps = IdempotencyStep._base_manager.using(records.db).filter(record_id=record_id).order_by("position")
    return "\n".join([*_of_record(record), *(described(step) for step in steps)])


def _of_record(record: IdempotencyRecord) -> list[str]:
    values = [(name, getattr(record, name)) for name in OF_RECORD]
    return [f"{name:<12} {printable(str(value))}" for name, value in values if value not in (None, "")]


def described(step: IdempotencyStep) -> str:
    """A step in one line; never what it was given or has returned."""
    state = f"done {step.finished_at}" if step.finished_at else "no result"
    sent = f", sent {step.requested_at} under {step.gateway_key}" if step.requested_at else ""
    person = printable(f", resolved by {step.resolved_by}: {step.evidence}") if step.resolved_by else ""
    return f"step {step.position:<7} {step.kind} {step.name}: {state}{sent}{person}"
