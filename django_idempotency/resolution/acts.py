"""One act from its beginning to its end: what all of them have in common."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from ..audit import Actor, record_event, refuse_empty
from ..backends.db.errors import Held, Unclear, own_statement
from ..core.acts import Act
from ..models import IdempotencyIncident, IdempotencyRecord
from ..replays import removals
from ..signals import resolved
from .grants import needed, redeem
from .refusals import Moved, NeedsApproval

logger = logging.getLogger("django_idempotency")

Row = dict[str, Any]

WORDS = ("reason", "evidence", "reference", "refusal")
"""What must not be empty where an act takes it."""
SEEN = ("state", "claim", "token", "kind", "counter", "decision", "assignee")
"""What an event tells of a row before the act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An act as somebody asks for it. `arguments` are all that it is called with, besides the id, the actor and `using`."""

    act: Act
    actor: Actor
    arguments: Mapping[str, Any]
    record_id: UUID | None = None
    incident_id: int | None = None

    def __post_init__(self) -> None:
        refuse_empty(**{name: self.arguments[name] for name in WORDS if name in self.arguments})

    @property
    def words(self) -> dict[str, str]:
        return {name: self.arguments.get(name, "") for name in ("reason", "evidence")}


@contextmanager
def done(asked: Asked, row: Row, using: str) -> Iterator[dict[str, Any]]:
    """
    The transaction of an act on a record or an incident: the change, its event, and what is told once it is committed.

    The change is made inside; what it comes to is put into the dict. Raises NeedsApproval, NotGranted, and Moved where
    somebody else is at the same rows.
    """
    with one_transaction(using):
        after: dict[str, Any] = {}
        yield after
        # Only now: nobody is asked to approve what would be refused, and what was changed here is undone.
        if asked.actor.approval is not None:
            redeem(asked, using)
        elif needed(asked.act, row, asked.arguments):
            raise NeedsApproval(asked, row, using)
        before = {name: row[name] for name in SEEN if name in row}
        ids = {"record_id": asked.record_id or row.get("record_id"), "incident_id": asked.incident_id}
        if asked.record_id is not None:
            removals.forget(using, [asked.record_id])
        # Last: from here on, every other act in this database waits for us.
        record_event(asked.actor, asked.act.value, using=using, before=before, after=after, **asked.words, **ids)
        transaction.on_commit(partial(_tell, asked, row), using=using, robust=True)


@contextmanager
def one_transaction(using: str) -> Iterator[None]:
    """A transaction. Raises Moved where another one is in its way."""
    try:
        with own_statement(), transaction.atomic(using=using):
            yield
    except (Held, Unclear) as exc:
        raise Moved from exc


def _tell(asked: Asked, row: Row) -> None:
    of_record = asked.incident_id is None
    logger.info("%s: %s by a person.", asked.record_id or f"Incident {asked.incident_id}", asked.act.value)
    resolved.send_robust(
        IdempotencyRecord if of_record else IdempotencyIncident,
        record=row if of_record else None,
        incident=None if of_record else row,
        how=asked.act.value,
        actor=asked.actor,
        **asked.words,
    )
