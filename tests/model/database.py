"""
PostgreSQL, as far as one record is concerned: one row, the transactions that touch it, and what has been committed.

READ COMMITTED: each statement sees what was committed when it began; a row lock belongs to one transaction and ends
with it; an uncommitted write is seen by its own transaction only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

PROCESSING, COMPLETED, TOMBSTONE, UNKNOWN = "processing", "completed", "tombstone", "unknown"

YOUNG, OLD, FORGOTTEN = 0, 1, 2

UNCHANGED = "unchanged"

# LIVE has a client; DOOMED has lost it and can only roll back, whenever the server notices; IN_DOUBT lost it during
# COMMIT, which may arrive yet, or never; CUT is over, and its client will learn so from its next statement.
LIVE, DOOMED, IN_DOUBT, CUT = "live", "doomed", "in doubt", "cut"


class Row(NamedTuple):
    """
    `answer` is the run whose answer is stored. `age` says what time has done: of a claim, whether it is older than a
    second (OLD); of an answer, whether it is past `expires_at` (OLD) or `forget_at` (FORGOTTEN).
    """

    claim: int
    fingerprint: str
    state: str
    token: int = 0
    answer: int | None = None
    age: int = YOUNG

    @property
    def forgotten(self) -> bool:
        return self.state in (COMPLETED, TOMBSTONE) and self.age == FORGOTTEN

    def older(self) -> "Row":
        """The row after the next deadline that it has."""
        last = {PROCESSING: OLD, COMPLETED: FORGOTTEN, TOMBSTONE: FORGOTTEN, UNKNOWN: self.age}[self.state]
        return self._replace(age=min(self.age + 1, last))

    def __str__(self) -> str:
        answer = "" if self.answer is None else f", answer of {self.answer}"
        age = ("", ", old", ", forgotten")[self.age]
        started = ", started" if self.token and self.state == PROCESSING else ""
        return f"[{self.state}{started}, claim {self.claim}, payload {self.fingerprint}{answer}{age}]"


class Transaction(NamedTuple):
    """`pending` is the uncommitted row; `run` is the run whose effects wait for the COMMIT."""

    xid: tuple[int, int]
    fate: str = LIVE
    locked: bool = False
    advisory: bool = False
    pending: Row | str = UNCHANGED
    run: int | None = None

    @property
    def writes(self) -> bool:
        return self.pending != UNCHANGED


class Database(NamedTuple):
    """
    `effects` are the runs with committed effects in this life of the key, `effects_ever` those of every life,
    `answers_ever` the runs whose answer was ever committed. `finished` tells of transactions that have an xid how they
    ended. `flushed` is what a crash of the server falls back to where that is not what everybody sees.
    """

    row: Row | None = None
    transactions: tuple[Transaction, ...] = ()
    finished: tuple[tuple[tuple[int, int], bool], ...] = ()
    effects: tuple[int, ...] = ()
    effects_ever: tuple[int, ...] = ()
    answers_ever: tuple[int, ...] = ()
    flushed: "Database | None" = None

    def transaction(self, actor: int) -> Transaction | None:
        """The transaction that the actor's connection has open."""
        for found in self.transactions:
            if found.xid[0] == actor and found.fate in (LIVE, CUT):
                return found
        return None

    def lock_holder(self, actor: int) -> Transaction | None:
        """Whoever keeps this actor from locking the committed row."""
        return self._other(actor, lambda found: found.locked)

    def writer(self, actor: int) -> Transaction | None:
        """Whose uncommitted write keeps an INSERT of this actor waiting."""
        return self._other(actor, lambda found: found.writes)

    def advisory_holder(self, actor: int) -> Transaction | None:
        return self._other(actor, lambda found: found.advisory)

    def _other(self, actor: int, test: Callable[[Transaction], bool]) -> Transaction | None:
        own = self.transaction(actor)
        return next((found for found in self.transactions if found != own and test(found)), None)

    def visible(self, actor: int) -> Row | None:
        """The row as a new statement of this actor sees it."""
        own = self.transaction(actor)
        return own.pending if own and own.writes else self.row

    def begin(self, actor: int) -> "Database":
        """Nothing where one is open: after a raw COMMIT or ROLLBACK the driver opens the next one like this."""
        if self.transaction(actor):
            return self
        xids = [xid for xid, _ in self.finished] + [found.xid for found in self.transactions]
        return self.put(Transaction(xid=(actor, sum(owner == actor for owner, _ in xids))))

    def put(self, transaction: Transaction) -> "Database":
        others = [found for found in self.transactions if found.xid != transaction.xid]
        return self._replace(transactions=tuple(sorted([*others, transaction], key=lambda found: found.xid)))

    def change(self, actor: int, **values: Any) -> "Database":
        return self.put(self.transaction(actor)._replace(**values))

    def close(self, actor: int) -> "Database":
        """The end of a transaction that has done nothing."""
        own = self.transaction(actor)
        return self._replace(transactions=tuple(found for found in self.transactions if found != own))

    def commit(self, transaction: Transaction, *, flush: bool = True) -> "Database":
        after = self._finish(transaction, committed=True)._credit(transaction.run)
        return after.publish(transaction.pending if transaction.writes else self.row, before=self, flush=flush)

    def rollback(self, transaction: Transaction) -> "Database":
        return self._finish(transaction, committed=False)

    def _finish(self, transaction: Transaction, *, committed: bool) -> "Database":
        return self._replace(
            transactions=tuple(found for found in self.transactions if found != transaction),
            finished=tuple(sorted([*self.finished, (transaction.xid, committed)])),
        )

    def _credit(self, run: int | None) -> "Database":
        if run is None:
            return self
        return self._replace(
            effects=tuple(sorted({*self.effects, run})), effects_ever=tuple(sorted({*self.effects_ever, run}))
        )

    def publish(self, row: Row | None, *, before: "Database | None" = None, flush: bool = True) -> "Database":
        """The row becomes what everybody sees; deleting a forgotten one ends a life of the key."""
        after = self._replace(row=row, flushed=None if flush else (self.flushed or (before or self).forget()))
        if row is None and self.row is not None and self.row.forgotten:
            return after._replace(effects=())
        if row is not None and row.state == COMPLETED:
            return after._replace(answers_ever=tuple(sorted({*self.answers_ever, row.answer})))
        return after

    def forget(self) -> "Database":
        """Nothing but what is on the disk."""
        return self._replace(transactions=(), finished=(), flushed=None)

    def retire(self, actor: int) -> "Database":
        """The actor is gone: nobody will ask about its transactions."""
        return self._replace(finished=tuple(entry for entry in self.finished if entry[0][0] != actor))

    def crash(self) -> "Database":
        """The server goes down and comes up: what was not flushed is gone, every connection is cut."""
        back = self.flushed or self
        cut = [Transaction(xid=found.xid, fate=CUT) for found in self.transactions if found.fate == LIVE]
        return back._replace(transactions=tuple(cut), finished=self.finished, flushed=None)
