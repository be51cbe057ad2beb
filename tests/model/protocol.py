"""
The claim protocol, one `yield` for each statement, as django_idempotency.backends.db follows it.

A mutation takes rules out: `me.keeps(rule)` is false then, and `me.where` leaves a column out of a WHERE.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from .database import COMPLETED, FORGOTTEN, OLD, PROCESSING, TOMBSTONE, UNKNOWN, YOUNG, Row
from .statements import (
    Change,
    Commit,
    ConnectionLost,
    Gate,
    HookError,
    Insert,
    Lock,
    LockNotAvailable,
    Read,
    Rollback,
    SameTransaction,
    Update,
    Where,
    Work,
)

Steps = Generator[Any, Any, Any]


class Answer(NamedTuple):
    """What the client gets: `run` is whose answer it is, where it has one."""

    kind: str
    run: int | None = None

    def __str__(self) -> str:
        return self.kind if self.run is None else f"{self.kind} of {self.run}"


FRESH, REPLAYED = "2xx", "replay"
FAILED, BROKEN, UNAVAILABLE = Answer("failure"), Answer("broken transaction"), Answer("503")
IN_FLIGHT, REUSED, EXPIRED, NOBODY_KNOWS = Answer("409"), Answer("422"), Answer("412"), Answer("outcome unknown")

AGAIN, TAKE_OVER, GONE = "read again", "take over", "forgotten"
KEPT, UNDONE, OUT_OF_BOUNDS = "kept", "undone", "out of bounds"


@dataclass(frozen=True)
class Request:
    """One HTTP request. Its number names its run. `endings` are the ways in which its view may go on."""

    number: int
    fingerprint: str
    endings: tuple[str, ...] = ("keep",)
    mutations: frozenset[str] = frozenset()

    @property
    def xid(self) -> tuple[int, int]:
        """Of the transaction in which the view starts."""
        return self.number, 0

    @property
    def attempts(self) -> int:
        return 3 if self.keeps("what is unclear is read again") else 1

    def keeps(self, rule: str) -> bool:
        return rule not in self.mutations

    def claim_number(self, attempt: int) -> int:
        """Another one for each attempt: who has seen the last one must not touch the next."""
        return 10 * self.number + (attempt if self.keeps("every claim has its own number") else 0)

    def where(self, statement: str, **columns: Any) -> Where:
        """The WHERE of a statement, without the columns that a mutation drops."""
        return tuple((name, value) for name, value in columns.items() if self.keeps(f"{name} in {statement}"))


def committed(me: Request) -> Steps:
    """Everybody sees the claim before the view runs; the row lock tells whether its owner lives."""
    for attempt in range(me.attempts):
        outcome = yield from attempt_committed(me, me.claim_number(attempt))
        if outcome is not AGAIN:
            return outcome
    return IN_FLIGHT


def attempt_committed(me: Request, number: int) -> Steps:
    """One statement inserts the claim or reads the record: its snapshot comes first, its INSERT later."""
    seen = yield Read()
    if seen is not None:
        verdict = yield from judged(me, seen)
        return (yield from take_over(me, seen)) if verdict is TAKE_OVER else verdict
    won = yield from insert(me, Row(number, me.fingerprint, PROCESSING), within=False)
    if isinstance(won, Answer):
        return won
    if won or not me.keeps("nothing inserted does not mean free"):
        return (yield from own(me, number))
    return AGAIN


def judged(me: Request, seen: Row) -> Steps:
    """A record that has outlived its tombstone is deleted: it, and not one that was claimed again since."""
    verdict = judge(me, seen)
    if verdict is not GONE:
        return verdict
    try:
        yield Change(me.where("forget", answered=True, age=FORGOTTEN), None)
    except LockNotAvailable:
        return IN_FLIGHT
    return AGAIN


def judge(me: Request, seen: Row) -> Any:
    """412 over 422 over 409."""
    if seen.forgotten:
        return GONE
    if seen.state == TOMBSTONE or (seen.state == COMPLETED and seen.age >= OLD):
        return EXPIRED
    if seen.fingerprint != me.fingerprint:
        return REUSED
    if seen.state == COMPLETED:
        return Answer(REPLAYED, seen.answer)
    if seen.state == UNKNOWN or (seen.token > 0 and me.keeps("a started record is unknown")):
        return NOBODY_KNOWS
    if seen.age == YOUNG and me.keeps("a young claim is left alone"):
        return IN_FLIGHT
    return TAKE_OVER


def insert(me: Request, row: Row, *, within: bool) -> Steps:
    """A gate that is shut tells at once what the INSERT would wait for."""
    try:
        if me.keeps("a claim does not wait"):
            yield Gate()
        return (yield Insert(row, within))
    except LockNotAvailable:
        return IN_FLIGHT
    except ConnectionLost:
        return UNAVAILABLE


def own(me: Request, number: int) -> Steps:
    """The owner waits for its lock: a claim that stands in its gate would starve it."""
    where = me.where("the owner's lock", claim=number, state=PROCESSING, token=0)
    held = yield from lock(me, where, waits=me.keeps("the owner waits"))
    if held is True:
        return (yield from run(me, number))
    if isinstance(held, Answer):
        return held
    # The claim is somebody else's now, unless it is still ours and cannot be had.
    seen = yield Read()
    return IN_FLIGHT if seen and seen.claim == number and seen.state != COMPLETED else AGAIN


def take_over(me: Request, seen: Row) -> Steps:
    """Lock what seems abandoned, at once or not at all, and ask again for all that was read."""
    held = yield from lock(me, abandoned(me, seen), waits=False)
    return (yield from run(me, seen.claim)) if held is True else held or IN_FLIGHT


def abandoned(me: Request, seen: Row) -> Where:
    columns = {"claim": seen.claim, "state": PROCESSING, "token": 0, "fingerprint": me.fingerprint, "age": OLD}
    return me.where("the takeover's lock", **columns)


def lock(me: Request, where: Where, *, waits: bool) -> Steps:
    """
    Whether the row is locked, or what to answer.

    It is locked by a write, so that a raw COMMIT publishes that the view has started. No row never means that the key
    is free.
    """
    started = (("token", 1),) if me.keeps("a raw COMMIT publishes the start") else ()
    try:
        held = yield Lock(where, started, waits, alone=me.keeps("a claim does not wait"))
    except LockNotAvailable:
        return IN_FLIGHT
    except ConnectionLost:
        return UNAVAILABLE
    return held or not me.keeps("no row to lock does not mean free")


def run(me: Request, claim: int) -> Steps:
    """The view, the completing UPDATE as the last statement, COMMIT."""
    end = yield from perform(me, claim)
    if end != KEPT:
        yield from roll_back()
        return (yield from (release(me, claim) if end == UNDONE else broken(me, claim)))
    try:
        yield commit(me)
    except (ConnectionLost, HookError):
        return (yield from ask(me, claim))
    return Answer(FRESH, me.number)


def perform(me: Request, claim: int) -> Steps:
    """The view and the completing UPDATE: how that ended."""
    try:
        ending = yield from view(me)
        if ending == "keep":
            hit = yield complete(me, claim)
            return KEPT if hit == 1 or not me.keeps("complete must hit one row") else OUT_OF_BOUNDS
        # Not after an error of the database: it answers nothing then until the transaction has ended.
        if ending == "fail" and me.keeps("a failed view is asked for its transaction"):
            return UNDONE if (yield SameTransaction(me.xid)) else OUT_OF_BOUNDS
    except (ConnectionLost, LockNotAvailable):
        pass
    return UNDONE


def view(me: Request) -> Steps:
    """The user's code: its effect, what it does to the transaction, and how it ends."""
    deeds = tuple((yield Work(me.number, me.endings)).split())
    while len(deeds) > 1:
        yield {"COMMIT": Commit(), "ROLLBACK": Rollback(), "work": Work(me.number, ("goes on",), starts=False)}[
            deeds[0]
        ]
        deeds = deeds[1:]
    return deeds[0]


def complete(me: Request, claim: int) -> Update:
    where = me.where("complete", claim=claim, state=PROCESSING, transaction=me.xid)
    return Update(where, (("state", COMPLETED), ("answer", me.number), ("token", 1), ("age", YOUNG)))


def commit(me: Request) -> Commit:
    return Commit(flush=me.keeps("an answer waits for the disk"), hook=True)


def roll_back() -> Steps:
    with suppress(ConnectionLost):  # the server rolls back when it notices
        yield Rollback()


def release(me: Request, claim: int) -> Steps:
    """Delete the unfinished claim; one that a raw COMMIT has published stays, and nobody knows its outcome."""
    try:
        if not (yield delete_unfinished(me, claim)):
            yield from doubt(me, me.where("doubt", claim=claim, state=PROCESSING, started=True))
    except LockNotAvailable:
        return FAILED  # somebody else runs under this claim, and settles it
    return FAILED


def delete_unfinished(me: Request, claim: int) -> Change:
    where = me.where("release", claim=claim, state=PROCESSING, token=0)
    return Change(where, None, skip_locked=not me.keeps("a release waits"))


def broken(me: Request, claim: int) -> Steps:
    """The view has ended its transaction itself: nobody knows what it has committed."""
    yield from doubt(me, me.where("doubt", claim=claim, state=PROCESSING))
    return BROKEN


def doubt(me: Request, where: Where) -> Steps:
    if me.keeps("a broken boundary is unknown"):
        with suppress(LockNotAvailable):
            yield Change(where, (("state", UNKNOWN),))


def ask(me: Request, claim: int) -> Steps:
    """An exception out of COMMIT is not a failure: the DELETE of a release on a fresh connection, then read."""
    if not me.keeps("COMMIT's exception is no failure"):
        return FAILED
    if not me.keeps("COMMIT's exception is no success"):
        return Answer(FRESH, me.number)
    try:
        if me.keeps("a lost COMMIT is deleted before it is read") and (yield delete_unfinished(me, claim)):
            return FAILED
    except LockNotAvailable:
        return IN_FLIGHT
    return (yield from settle(me))


def settle(me: Request) -> Steps:
    """What became of a run whose COMMIT raised: somebody else's answer only where it is the answer to this request."""
    seen = yield Read()
    if seen is None:
        return UNAVAILABLE
    if seen.state == COMPLETED and not me.keeps("what is read after COMMIT is judged"):
        return Answer(REPLAYED, seen.answer)
    verdict = judge(me, seen)
    return verdict if isinstance(verdict, Answer) else IN_FLIGHT


def joined(me: Request) -> Steps:
    """Claim, work and answer in one transaction. The record is started at once: only a raw COMMIT shows it unfinished."""
    for attempt in range(me.attempts):
        outcome = yield from attempt_joined(me, me.claim_number(attempt))
        if outcome is not AGAIN:
            return outcome
    return IN_FLIGHT


def attempt_joined(me: Request, number: int) -> Steps:
    seen = yield Read()
    if seen is not None:
        verdict = yield from judged(me, seen)
        return (yield from take_over_joined(me, seen)) if verdict is TAKE_OVER else verdict
    started = 1 if me.keeps("a raw COMMIT publishes the start") else 0
    won = yield from insert(me, Row(number, me.fingerprint, PROCESSING, started), within=True)
    if isinstance(won, Answer):
        return won
    if won or not me.keeps("nothing inserted does not mean free"):
        return (yield from run_joined(me, number, release_joined))
    return AGAIN


def take_over_joined(me: Request, seen: Row) -> Steps:
    """What the dead owner of a committed claim has left."""
    held = yield from lock(me, abandoned(me, seen), waits=False)
    return (yield from run_joined(me, seen.claim, release)) if held is True else held or IN_FLIGHT


def run_joined(me: Request, claim: int, undo: Any) -> Steps:
    end = yield from perform(me, claim)
    if end != KEPT:
        yield from roll_back()
        return (yield from (undo(me, claim) if end == UNDONE else broken_joined(me, claim)))
    try:
        yield commit(me)
    except (ConnectionLost, HookError):
        return (yield from settle(me)) if me.keeps("COMMIT's exception is no failure") else FAILED
    return Answer(FRESH, me.number)


def release_joined(me: Request, claim: int) -> Steps:
    """A claim that was never committed needs no release."""
    yield from ()
    return FAILED


def broken_joined(me: Request, claim: int) -> Steps:
    """As for a committed claim; a raw ROLLBACK has undone the record, too."""
    yield Insert(Row(claim, me.fingerprint, PROCESSING, 1), within=False)
    return (yield from broken(me, claim))
