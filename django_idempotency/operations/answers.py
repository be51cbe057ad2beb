"""What an operation answers, and how results are kept: as JSON, so that a resumed function gets what the first one got."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..core.engine import Snapshot
from ..core.policies import Policy
from ..encryption import answer_body, sealed

CONTENT_TYPE = (("Content-Type", "application/json"),)
# They say "not now": an answer is for ever.
NEVER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Respond:
    """
    The answer of an operation, kept and given to every retry: a status from 200 to 499, and data as JSON.

    What is not an outcome, such as a gateway that is down, is no answer: return RetryLater then.
    """

    status: int
    data: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 200 <= self.status < 500 or self.status in NEVER:
            raise ValueError(
                f"Respond({self.status}) would be given to every retry. Return RetryLater(seconds) instead."
            )


def as_json(value: Any, what: str) -> str:
    """A value as JSON text, in which equal values are equal texts. Raises TypeError where it is none."""
    try:
        return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as exc:
        raise TypeError(f"{what} must be JSON, to be the same when the operation is resumed: {exc}.") from exc


# They take the policy, which does not show its keys: error reports show the variables of every frame.
def snapshot(answer: Respond, policy: Policy) -> Snapshot:
    """The answer as the record keeps it."""
    body = json.dumps(answer.data, allow_nan=False).encode()
    return Snapshot(answer.status, CONTENT_TYPE, *sealed(body, policy.encryption_keys))


def answered(kept: Snapshot, policy: Policy) -> Respond:
    """The answer that a record has kept. Raises StoreUnavailable where it cannot be read."""
    body = answer_body(kept.body, kept.key_id, policy.encryption_keys)
    return Respond(kept.status, None if body is None else json.loads(body))
