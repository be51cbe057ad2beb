from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency.audit import events_in, head_files, home
from django_idempotency.heads import Exported, Head
from django_idempotency.management.commands.idempotency_show import printable
from django_idempotency.models import IdempotencyEvent
from django_idempotency.verification import Fault, verify

TOLD = 20
"""Faults that are told one by one; where a secret is lost, every event has one."""

TAMPERED, UNVERIFIED = 1, 2
"""What the command ends with: something is wrong; or nothing is, as far as this release can tell."""


class Command(BaseCommand):
    help = "List who did what, or verify that the record of it is whole."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--record", type=UUID, metavar="ID", help="only what was done about this record")
        parser.add_argument("--actor", metavar="NAME", help="only what this person has done")
        parser.add_argument("--last", type=int, default=50, metavar="N", help="only the last so many (50)")
        parser.add_argument("--verify", action="store_true", help="find what was changed, put in, taken out or cut off")
        parser.add_argument(
            "--head", metavar="FILE|N:DIGEST", help="what was exported; without it, the file that AUDIT_HEADS names"
        )
        parser.add_argument("--database", choices=list(connections), help="whose; without it, the default profile's")

    def handle(self, **options: Any) -> None:
        alias = options["database"] or home()
        if options["verify"]:
            self.verify(alias, options["head"])
            return
        given = {"record_id": options["record"], "actor": options["actor"]}
        chosen = {name: value for name, value in given.items() if value is not None}
        last = events_in(alias).filter(**chosen).order_by("-sequence")[: options["last"]]
        self.stdout.writelines(f"{told(event)}\n" for event in reversed(last))

    def verify(self, alias: str, head: str | None) -> None:
        newer: list[Fault] = []
        heads = exported(alias, head, self.stderr.write)
        try:
            faults = verify(using=alias, exported=heads)
            # All that is not certain is passed over, however much there is: what is certain may stand behind it.
            found = [str(fault) for fault in islice(certain(faults, newer), TOLD + 1)]
        except (OSError, ValueError) as exc:
            raise CommandError(f"The exported heads cannot be read: {exc}") from exc
        more = ["and more"] if len(found) > TOLD else []
        if found or newer:
            told = [*found[:TOLD], *more, *map(str, newer)]
            raise CommandError("\n".join(told), returncode=TAMPERED if found else UNVERIFIED)
        compared = isinstance(heads, Exported) and heads
        if head and compared and not compared.number:
            raise CommandError(f"{head} has no head of the database {alias}.")
        last = events_in(alias).order_by("-sequence").values_list("sequence", flat=True).first()
        self.stdout.write(f"verified: {last or 0} events")
        if compared and compared.number:
            self.stdout.write(f"compared with {compared.number} exported heads, up to event {compared.last}")


def certain(faults: Iterable[Fault], newer: list[Fault]) -> Iterator[Fault]:
    """Those faults that say that something is wrong. Of the others, the first goes to `newer`: it stands for all."""
    for fault in faults:
        if fault.certain:
            yield fault
        elif not newer:
            newer.append(fault)


def exported(alias: str, head: str | None, tell: Callable[[str], object]) -> Iterable[Head]:
    """The heads to compare with."""
    number, colon, digest = (head or "").partition(":")
    if colon and number.isdigit():
        return [(int(number), digest)]
    return Exported([Path(head)] if head else head_files(alias), alias, tell)


def told(event: IdempotencyEvent) -> str:
    """An event in one line."""
    about = event.record_id or (event.incident_id and f"incident {event.incident_id}") or ""
    approval = f"(approval {event.approval_id})" if event.approval_id else ""
    words = ": ".join(word for word in (event.reason, event.evidence) if word)
    parts = (event.sequence, f"{event.at:%Y-%m-%d %H:%M:%S}", event.actor, event.act, about, approval, words)
    return printable(" ".join(str(part) for part in parts if part != "").replace("\n", " "))
