from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from django_idempotency import resolution
from django_idempotency.management.acting import act_of
from django_idempotency.management.commands.idempotency_show import printable
from django_idempotency.payloads import compact, masked
from django_idempotency.resolution import Answer

ACTS: dict[str, Any] = {
    "dry_run": resolution.dry_run,
    "refused": resolution.run_refused,
    "stored": resolution.stored_answer,
    "post": resolution.post_answer,
}
"""By the option that asks for it; without one, a request is run again."""
RAN_IN_VAIN = 2
"""The exit code; 1 says that nothing was run."""


class Command(BaseCommand):
    help = "Run a failed or abandoned request again, under its own key and as its original principal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=record_or_incident, help="a record's id, or an incident's number")
        other = parser.add_mutually_exclusive_group()
        other.add_argument("--dry-run", action="store_true", help="roll it back, and show what would be answered")
        other.add_argument(
            "--refused", action="store_true", help="run a mismatch's refused payload under a key of its own"
        )
        other.add_argument("--stored", action="store_true", help="run nothing: show the stored answer of a record")
        other.add_argument(
            "--post", action="store_true", help="run nothing: post the stored answer to its callback address"
        )
        parser.add_argument(
            "--seen", type=int, help="only while the record's claim, or the incident's counter, is this"
        )
        parser.add_argument("--reason", default="", help="why it is done")
        parser.add_argument("--by", default="", help="who says so")
        parser.add_argument(
            "--database", choices=list(connections), help="whose records; without it, the default profile's"
        )

    def handle(self, **options: Any) -> None:
        chosen = next((name for name in ACTS if options[name]), "")
        given = {"reason": options["reason"], "using": options["database"]}
        if chosen not in ("stored", "post"):
            given["seen"] = options["seen"]
        act = ACTS.get(chosen, resolution.replay)
        found = act_of(options["by"], lambda actor: act(options["id"], actor=actor, **given))
        if options["verbosity"] > 0:
            told = partial(shown, clear=chosen == "stored")
            self.stdout.write(told(found) if isinstance(found, Answer) else f"answered {found}")
        if isinstance(found, Answer) and chosen in ("", "refused") and not found.kept:
            raise CommandError("It was run, and its answer is not kept.", returncode=RAN_IN_VAIN)


def record_or_incident(text: str) -> UUID | int:
    return int(text) if text.isdecimal() else UUID(text)


def shown(answer: Answer, *, clear: bool = False) -> str:
    """What became of it, and what was answered: masked, but for somebody who has asked for the stored answer itself."""
    ran = "ran" if answer.ran else "was answered before"
    kept = "its answer is kept" if answer.kept else "nothing is kept"
    if answer.left:
        kept = f"nothing is kept, and its record is {answer.left}"
    return f"{answer.status}: it {ran}, {kept}\n{_body(answer, clear=clear)}"


def _body(answer: Answer, *, clear: bool) -> str:
    if answer.body is None:
        return "(no body)"
    if clear:
        return printable(answer.body.decode(errors="backslashreplace"))
    kind = {name.lower(): value for name, value in answer.headers}.get("content-type", "")
    text = compact(answer.body, "", kind)
    return printable(str(masked(answer.body, "", kind)) if text is None else text)
