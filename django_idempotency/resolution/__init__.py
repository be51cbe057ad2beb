"""
What a person decides: plain functions, called by the admin and by commands alike, never by a request of a client's.

1. Each act says what it was shown: the claim or the token of a record, the counter of an incident. What has moved since is
   refused, and so is what does not fit its state. Of two persons, or of a person and a request, one is first; the other is
   told.
2. The change and its event in the audit are committed together; the signal `resolved` is sent after that.
3. An outcome takes `evidence`, a decision takes a `reason`. Nothing is recorded without it, nor without an actor.
4. Nothing guesses. No act frees a key under which something may have been done. What is sent to anybody is in replays.py
   and answers.py, and says so in the audit before and after.
5. What the rules in APPROVALS put under a second person raises NeedsApproval, and nothing is changed: see approvals.py.

Do one act in a transaction: until it ends, every other act in the database waits.
"""

from __future__ import annotations

from collections.abc import Callable

from ..audit import Actor, actor_of, at_command_line
from ..core.acts import Act
from .answers import post_answer, stored_answer
from .incidents import assign, client_error, close, original_stands, reopen, settled_outside
from .operations import approved, declined, go_on, returned
from .payloads import reveal, reveal_incident
from .records import happened, never_happened, release
from .refusals import (
    Moved,
    NeedsApproval,
    NotFound,
    NotGranted,
    NotResolved,
    NotSent,
    StillRunning,
    TooEarly,
    TooLate,
    Unreadable,
    WrongState,
)
from .replays import dry_run, replay, run_refused
from .serving import Answer

__all__ = [
    "ACTS",
    "Act",
    "Actor",
    "Answer",
    "Moved",
    "NeedsApproval",
    "NotFound",
    "NotGranted",
    "NotResolved",
    "NotSent",
    "StillRunning",
    "TooEarly",
    "TooLate",
    "Unreadable",
    "WrongState",
    "actor_of",
    "approved",
    "assign",
    "at_command_line",
    "client_error",
    "close",
    "declined",
    "dry_run",
    "go_on",
    "happened",
    "never_happened",
    "original_stands",
    "post_answer",
    "release",
    "reopen",
    "replay",
    "returned",
    "reveal",
    "reveal_incident",
    "run_refused",
    "settled_outside",
    "stored_answer",
]

ACTS: dict[Act, Callable[..., object]] = {
    Act.RELEASE: release,
    Act.APPROVED: approved,
    Act.DECLINED: declined,
    Act.RETURNED: returned,
    Act.HAPPENED: happened,
    Act.NEVER_HAPPENED: never_happened,
    Act.GO_ON: go_on,
    Act.STANDS: original_stands,
    Act.CLIENT_ERROR: client_error,
    Act.SETTLED: settled_outside,
    Act.CLOSE: close,
    Act.REPLAY: replay,
    Act.DRY_RUN: dry_run,
    Act.RUN_REFUSED: run_refused,
    Act.POST_ANSWER: post_answer,
}
"""By the name that the audit, the signal and APPROVALS know them by."""
