"""Upkeep and staff: each chooses first and acts then, and by then the row may be another one."""

from __future__ import annotations

from .database import COMPLETED, FORGOTTEN, OLD, PROCESSING, TOMBSTONE
from .protocol import Request, Steps
from .statements import Change, LockNotAvailable, Read


def purge(me: Request) -> Steps:
    """Answers past their time shrink to tombstones, tombstones past theirs go."""
    yield from shrink(me)
    yield from delete(me)


def shrink(me: Request) -> Steps:
    seen = yield Read()
    if seen and seen.state == COMPLETED and seen.age >= OLD:
        yield Change(me.where("shrink", state=COMPLETED, age=OLD), (("state", TOMBSTONE),), skip_locked=True)


def delete(me: Request) -> Steps:
    seen = yield Read()
    if seen and seen.state == TOMBSTONE and seen.age == FORGOTTEN:
        yield Change(me.where("delete", state=TOMBSTONE, age=FORGOTTEN), None, skip_locked=True)


def recover(me: Request) -> Steps:
    """Release claims that are abandoned: old, and nobody holds their lock."""
    seen = yield Read()
    if seen and seen.state == PROCESSING and seen.token == 0 and (seen.age or not me.keeps("age in recover")):
        where = me.where("recover", claim=seen.claim, state=PROCESSING, token=0, age=OLD)
        yield Change(where, None, skip_locked=True)


def staff_release(me: Request) -> Steps:
    """Release the claim that was displayed, however old the page is."""
    seen = yield Read()
    if seen and seen.state == PROCESSING and seen.token == 0:
        try:
            yield Change(me.where("staff", claim=seen.claim, state=PROCESSING, token=0), None)
        except LockNotAvailable:
            pass  # its owner lives
