from __future__ import annotations

from enum import StrEnum


class Act(StrEnum):
    """What a person does to settle a record or an incident. Each may be made to need a second person."""

    RELEASE = "release"
    # Of what has an unknown outcome.
    APPROVED = "approved"
    DECLINED = "declined"
    RETURNED = "returned"
    HAPPENED = "happened"
    NEVER_HAPPENED = "never-happened"
    GO_ON = "go-on"
    # Of an incident.
    STANDS = "original-stands"
    CLIENT_ERROR = "client-error"
    SETTLED = "settled-outside"
    CLOSE = "close"
    # What sends something.
    REPLAY = "replay"
    DRY_RUN = "dry-run"
    RUN_REFUSED = "run-refused"
    POST_ANSWER = "post-answer"
