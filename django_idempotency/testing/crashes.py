"""The death of a process at its commit, staged inside a living one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, NoReturn

from django.db import connections
from django.db.models import F

from .. import signals
from ..core.engine import Operation
from ..core.states import State
from ..models import IdempotencyRecord
from .retention import databases

Moment = Literal["before", "after"]


class Crash(BaseException):
    """Stands for the death of the process; no Exception, so that no code takes it for an error and tidies up."""


class Staged:
    """A crash on its way: armed when a request has claimed its key, over at the request's commit."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.operation: Operation | None = None
        self.connection: Any = None
        self.happened = False

    def arm(self, operation: Operation, **_: Any) -> None:
        """Wait for the commit of the transaction in which the view runs; called from the request's own thread."""
        self.operation = operation
        for alias in databases(operation.namespace):
            if connections[alias].in_atomic_block:
                self.connection = connections[alias]
                self.connection.commit = self.commit

    def commit(self) -> NoReturn:
        del self.connection.commit
        if self.moment == "before":
            # What the database does when the connection of a process that has died is gone.
            self.connection.rollback()
        else:
            self.connection.commit()
            # Nobody is left to call the hooks.
            self.connection.run_on_commit = []
            self.connection.run_commit_hooks_on_set_autocommit_on = False
        self.happened = True
        self.connection.execute_wrappers.append(self.refuse)
        raise Crash

    def refuse(self, *_: Any) -> NoReturn:
        """The dead send no statement: what the request does on its way out must not tidy up after it."""
        raise Crash

    def clear(self) -> None:
        if self.happened:
            self.connection.execute_wrappers.remove(self.refuse)
        elif self.connection is not None:
            vars(self.connection).pop("commit", None)


@contextmanager
def crash(moment: Moment) -> Iterator[Staged]:
    staged = Staged(moment)
    signals.claimed.connect(staged.arm, weak=False)
    try:
        yield staged
    finally:
        signals.claimed.disconnect(staged.arm)
        staged.clear()


def abandon(operation: Operation) -> None:
    """Move a dead request's claim out of its first second, in which duplicates leave it alone."""
    for alias in databases(operation.namespace):
        claims = IdempotencyRecord.objects.using(alias).filter(id=operation.id, state=State.PROCESSING.value)
        claims.update(claimed_at=F("claimed_at") - timedelta(hours=1))
