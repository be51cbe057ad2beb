"""Upkeep and staff: each chooses first and acts then, and by then the row may be another one."""

from __future__ import annotations

from contextlib import suppress

from .database import COMPLETED, FORGOTTEN, OLD, PROCESSING, TOMBSTONE, UNKNOWN
from .protocol import Request, Steps
from .statements import Change, LockNotAvailable, Read


def purge(me: Request) -> Steps:
    """Records that may be forgotten are deleted, then expired answers shrink to tombstones."""
    seen = yield Read()
    if seen and seen.forgotten:
        yield Change(me.where("delete", state=seen.state, age=FORGOTTEN), None, skip_locked=True)
    seen = yield Read()
    if seen and seen.state == COMPLETED and seen.age >= OLD:
        yield Change(me.where("shrink", state=COMPLETED, age=OLD), (("state", TOMBSTONE),), skip_locked=True)


def recover(me: Request) -> Steps:
    """Settle claims that are old and that nobody holds: released, or unknown where the view has committed on its own."""
    seen = yield Read()
    if seen and seen.state == PROCESSING and (seen.age >= OLD or not me.keeps("age in recover")):
        where = me.where("recover", claim=seen.claim, state=PROCESSING, token=seen.token, age=OLD)
        yield Change(where, (("state", UNKNOWN),) if seen.token else None, skip_locked=True)


def staff_release(me: Request) -> Steps:
    """Release the claim that was displayed, however long ago."""
    seen = yield Read()
    if seen and seen.state == PROCESSING and not seen.token:
        with suppress(LockNotAvailable):  # its owner lives
            yield Change(me.where("staff", claim=seen.claim, state=PROCESSING, token=0), None)
