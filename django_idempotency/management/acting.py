"""An act of a person's at a command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from django_idempotency import approvals
from django_idempotency.resolution import Actor, NeedsApproval, NotResolved, at_command_line


def act_of(person: str, act: Callable[[Actor], Any]) -> Any:
    """
    Do an act in a person's name, and return what it returns. What needs a second person is asked for.

    Raises CommandError where it was not done.
    """
    try:
        return _done_or_asked(act, at_command_line(person))
    except (NotResolved, ValueError) as exc:
        raise CommandError(str(exc)) from exc


def _done_or_asked(act: Callable[[Actor], Any], actor: Actor) -> Any:
    try:
        return act(actor)
    except NeedsApproval as needs:
        asked = approvals.request(needs)
        raise CommandError(
            f"Not done yet: approval {asked.pk} was asked for. Another person has to approve it."
        ) from needs
