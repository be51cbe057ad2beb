"""
An act that sends something: an event before it, and one after it with what it has come to.

The event before is committed before anything is sent: an act whose process dies in between is seen by its missing end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from django.db import transaction

from ..audit import record_event
from ..backends.transactions import refuse_transaction
from ..models import IdempotencyEvent
from .acts import SEEN, Asked, Row, one_transaction
from .grants import needed, redeem
from .refusals import Moved, NeedsApproval

logger = logging.getLogger("django_idempotency")

Result = TypeVar("Result")

IN_TRANSACTION = (
    "Something would be sent inside a database transaction, and what is known of it be rolled back. End the transaction "
    "first; for a view under ATOMIC_REQUESTS, with django.db.transaction.non_atomic_requests."
)
ENDED = "-ended"
"""After the name of the act, that of its second event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    asked: Asked
    row: Row
    """The columns of the record or the incident."""
    alias: str

    def event(self, act: str, **said: Any) -> IdempotencyEvent:
        about = {"record_id": self.row.get("record_id", self.row["id"]), "incident_id": self.asked.incident_id}
        return record_event(self.asked.actor, act, using=self.alias, **about, **said, **self.asked.words)

    def permit(self) -> None:
        """Raises NeedsApproval and NotGranted."""
        if self.asked.actor.approval is not None:
            redeem(self.asked, self.alias)
        elif needed(self.asked.act, self.row, self.asked.arguments):
            raise NeedsApproval(self.asked, self.row, self.alias)


def carried_out(
    account: Account,
    *,
    begin: Callable[[], dict[str, Any]],
    work: Callable[[], Result],
    end: Callable[[Result], dict[str, Any]],
) -> Result | None:
    """
    What the work returns; None under an approval, where it is done once that is committed.

    `begin` and `end` are called in the transactions of the two events and return what these say: `begin` locks what the act
    is about.
    """
    asked, alias = account.asked, account.alias
    if asked.actor.approval is None:
        refuse_transaction(IN_TRANSACTION)
    with one_transaction(alias):
        after = begin()
        # Nobody is asked to approve what would be refused.
        account.permit()
        before = {name: account.row[name] for name in SEEN if name in account.row}
        begun = account.event(asked.act.value, after=after, before=before)
        do = partial(_done, account, begun, work=work, end=end)
        if asked.actor.approval is not None:
            transaction.on_commit(do, using=alias)
            return None
    return do()


def _done(
    account: Account,
    begun: IdempotencyEvent,
    *,
    work: Callable[[], Result],
    end: Callable[[Result], dict[str, Any]],
) -> Result:
    ended, before = account.asked.act.value + ENDED, {"event": begun.sequence}
    try:
        result = work()
    except BaseException as exc:
        account.event(ended, before=before, after={"error": type(exc).__name__})
        raise
    try:
        with one_transaction(account.alias):
            account.event(ended, after=end(result), before=before)
    except Moved:
        # It was done. To say that it was not, because somebody holds a row, would have it done in another way, too.
        logger.exception("%s was done, and what has come of it could not be recorded.", account.asked.act.value)
    return result
