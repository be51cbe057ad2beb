"""
The claim protocol, as section 3 of the design has it, one `yield` for each statement.

A mutation takes one rule out: `me.keeps(rule)` is false then, or `me.where` leaves a column out.
"""

from __future__ import annotations

from collections.abc import Generator
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
FAILED, BROKEN, UNAVAILABLE = Answer("failed"), Answer("500"), Answer("503")
IN_FLIGHT, REUSED, EXPIRED, NOBODY_KNOWS = Answer("409"), Answer("422"), Answer("412"), Answer("outcome-unknown")

AGAIN, TAKE_OVER, GONE = "read again", "take over", "forgotten"


@dataclass(frozen=True)
class Request:
    """One HTTP request. Its number names its run."""

    number: int
    fingerprint: str = "A"
    endings: tuple[str, ...] = ("keep",)
    mutations: frozenset[str] = frozenset()
    attempts: int = 3

    def keeps(self, rule: str) -> bool:
        return rule not in self.mutations

    def claim_number(self, attempt: int) -> int:
        """Another one for each attempt: who has seen the last one must not touch the next."""
        return 10 * self.number + (attempt if self.keeps("a claim has a number of its own") else 0)

    def where(self, statement: str, **columns: Any) -> Where:
        """The WHERE of a statement, without the columns that a mutation drops."""
        return tuple((name, value) for name, value in columns.items() if self.keeps(f"{name} in {statement}"))


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


def committed(me: Request) -> Steps:
    """A claim that everybody sees before the view runs."""
    for attempt in range(me.attempts):
        outcome = yield from attempt_committed(me, me.claim_number(attempt))
        if outcome is not AGAIN:
            return outcome
    return IN_FLIGHT


def attempt_committed(me: Request, number: int) -> Steps:
    """One statement inserts the claim or reads the record: its snapshot comes first, its INSERT later."""
    seen = yield Read()
    if seen is None:
        return (yield from claim(me, number))
    verdict = judge(me, seen)
    if verdict is GONE:
        return (yield from forget(me))
    if verdict is TAKE_OVER:
        return (yield from take_over(me, seen))
    return verdict


def claim(me: Request, number: int) -> Steps:
    """Nothing inserted never means that the key is free."""
    won = yield from insert(me, Row(number, me.fingerprint, PROCESSING), within=False)
    if isinstance(won, Answer):
        return won
    if won or not me.keeps("an empty claim is not free"):
        return (yield from own(me, number))
    return AGAIN


def insert(me: Request, row: Row, *, within: bool) -> Steps:
    """A gate that is shut tells at once what an INSERT would wait for."""
    try:
        if me.keeps("a claim does not wait"):
            yield Gate()
        return (yield Insert(row, within))
    except LockNotAvailable:
        return IN_FLIGHT
    except ConnectionLost:
        return UNAVAILABLE


def forget(me: Request) -> Steps:
    """A record that has outlived its tombstone gives way."""
    try:
        yield Change(me.where("forget", answered=True, age=FORGOTTEN), None)
    except LockNotAvailable:
        return IN_FLIGHT
    return AGAIN


def own(me: Request, number: int) -> Steps:
    """The owner waits for its lock."""
    where = me.where("the owner's lock", claim=number, state=PROCESSING, token=0)
    return (yield from lock(me, where, number, waits=me.keeps("the owner waits")))


def take_over(me: Request, seen: Row) -> Steps:
    """Lock what seems abandoned, at once or not at all, and ask again for all that was read."""
    where = me.where(
        "the takeover's lock", claim=seen.claim, state=PROCESSING, token=0, fingerprint=me.fingerprint, age=OLD
    )
    return (yield from lock(me, where, seen.claim, waits=False))


def lock(me: Request, where: Where, number: int, *, waits: bool) -> Steps:
    """
    The row lock is the lease; it is taken by a write, so that a raw COMMIT publishes that the view has started.

    No row: the claim is somebody else's now.
    """
    started = (("token", 1),) if me.keeps("a raw COMMIT publishes the start") else ()
    try:
        held = yield Lock(where, started, waits, alone=me.keeps("a claim does not wait"))
    except LockNotAvailable:
        return IN_FLIGHT
    except ConnectionLost:
        return UNAVAILABLE
    if held is None and me.keeps("no row to lock is not free"):
        return AGAIN
    return (yield from run(me, number))


def run(me: Request, claim: int) -> Steps:
    """The view, the completing UPDATE as the last statement, COMMIT."""
    try:
        kept = yield from view(me)
        hit = kept and (yield complete(me, claim))
    except (ConnectionLost, LockNotAvailable):
        kept = False
    if not kept:
        yield from roll_back()
        return (yield from release(me, claim))
    if hit != 1 and me.keeps("complete must hit one row"):
        yield from roll_back()
        return (yield from doubt(me, me.where("doubt", claim=claim, state=PROCESSING), BROKEN))
    try:
        yield Commit(flush=me.keeps("an answer waits for the disk"), hook=True)
    except (ConnectionLost, HookError):
        return (yield from ask(me, claim))
    return Answer(FRESH, me.number)


def complete(me: Request, claim: int) -> Update:
    where = me.where("complete", claim=claim, state=PROCESSING, transaction=(me.number, 0))
    return Update(where, (("state", COMPLETED), ("answer", me.number), ("token", 1), ("age", YOUNG)))


def view(me: Request) -> Steps:
    """The user's code: its effect, then what it should not do, then whether its answer is to be kept."""
    ending = yield Work(me.number, me.endings)
    deeds = tuple(ending.split())
    while len(deeds) > 1:
        yield {"COMMIT": Commit(), "ROLLBACK": Rollback(), "work": Work(me.number, ("go on",), starts=False)}[deeds[0]]
        deeds = deeds[1:]
    return deeds[0] == "keep"


def roll_back() -> Steps:
    try:
        yield Rollback()
    except ConnectionLost:
        pass  # the server rolls back when it notices


def release(me: Request, claim: int) -> Steps:
    """Delete the unfinished claim. One that a raw COMMIT has published stays, and nobody knows its outcome."""
    try:
        if (yield delete_unfinished(me, claim)):
            return FAILED
    except LockNotAvailable:
        return FAILED  # somebody else runs under this claim, and settles it
    return (yield from doubt(me, me.where("doubt", claim=claim, state=PROCESSING, started=True), FAILED))


def doubt(me: Request, where: Where, answer: Answer) -> Steps:
    """The view ended the transaction itself: nobody knows what it has committed."""
    if me.keeps("a broken boundary is unknown"):
        try:
            if (yield Change(where, (("state", UNKNOWN),))):
                return BROKEN
        except LockNotAvailable:
            pass
    return answer


def delete_unfinished(me: Request, claim: int) -> Change:
    where = me.where("release", claim=claim, state=PROCESSING, token=0)
    return Change(where, None, skip_locked=not me.keeps("release waits"))


def ask(me: Request, claim: int) -> Steps:
    """An exception out of COMMIT is not a failure: rule 3's DELETE on a fresh connection, then read."""
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
        return IN_FLIGHT
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
    if seen is None:
        return (yield from claim_joined(me, number))
    verdict = judge(me, seen)
    if verdict is GONE:
        return (yield from forget(me))
    if verdict is TAKE_OVER:
        return (yield from take_over(me, seen))
    return verdict


def claim_joined(me: Request, number: int) -> Steps:
    token = 1 if me.keeps("a raw COMMIT publishes the start") else 0
    won = yield from insert(me, Row(number, me.fingerprint, PROCESSING, token), within=True)
    if isinstance(won, Answer):
        return won
    if won or not me.keeps("an empty claim is not free"):
        return (yield from run_joined(me, number))
    return AGAIN


def run_joined(me: Request, number: int) -> Steps:
    try:
        kept = yield from view(me)
        hit = kept and (yield complete(me, number))
    except (ConnectionLost, LockNotAvailable):
        yield from roll_back()
        return FAILED
    if not kept:
        yield from roll_back()
        return FAILED
    if hit != 1 and me.keeps("complete must hit one row"):
        yield from roll_back()
        return BROKEN
    try:
        yield Commit(flush=me.keeps("an answer waits for the disk"), hook=True)
    except (ConnectionLost, HookError):
        return (yield from settle(me)) if me.keeps("COMMIT's exception is no failure") else FAILED
    return Answer(FRESH, me.number)
