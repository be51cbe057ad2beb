"""
What the client raises instead of an answer.

    IdempotencyError
    ├── OutcomeUnknown
    │   └── Unanswered      sent, perhaps done: ask again with the same intent
    ├── IntentReused        nothing was sent: the intent belongs to other parameters
    ├── IntentExpired       nothing was sent: the server may have forgotten the key
    └── IntentSpent         nothing was sent: it was before, to a server that honours no keys
"""

from __future__ import annotations

import httpx

from ..exceptions import IdempotencyError, OutcomeUnknown


class Unanswered(OutcomeUnknown):
    """
    The outcome is unknown, not failed: the request was sent and may have taken effect.
    Ask again with the same intent, never with a new one; if that does not help, look the result up.
    """

    def __init__(self, detail: str | None = None, *, response: httpx.Response | None = None) -> None:
        super().__init__(detail)
        self.response = response
        """The server's last answer, which does not tell; None if there was none."""


class IntentReused(IdempotencyError):
    """
    This intent was first stated with other parameters, and what became of those is for the first answer to say.
    State the original parameters again to get it; another wish of a person's is another intent.
    """

    code = "intent-reused"

    def __init__(self, detail: str | None = None, *, response: httpx.Response | None = None) -> None:
        super().__init__(detail)
        self.response = response
        """The server's refusal; None where nothing was sent."""


class IntentExpired(IdempotencyError):
    """
    This intent was first sent so long ago that the server may have forgotten its key, and would do it once more.
    Nothing was sent now. Look up what became of it.
    """

    code = "intent-expired"


class IntentSpent(IdempotencyError):
    """
    This intent was sent before, perhaps in vain, to a server that honours no keys and would do it once more.
    Nothing was sent now. Look up what became of it.
    """

    code = "intent-spent"
