"""Whether to send again, when, and what may be said in the end. Decides; the transports send and wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import httpx

from .answers import Answer
from .clocks import Clock
from .errors import IntentExpired, IntentReused, IntentSpent, Unanswered
from .intents import EXTENSION, Asked
from .servers import Server
from .stores import Intent

FIRST_PAUSE = 0.5
"""Seconds before the second attempt, at most; doubled with each further one."""
LONGEST_PAUSE = 16.0

# Nothing has been sent when these are raised.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# A fault of the request itself: it would be the same again.
FAULTS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)

NO_KEYS = (
    "The outcome is unknown, not failed: the request was sent and may have taken effect. The server honours no keys, so it "
    "is not sent again. Look the result up."
)

Outcome = Answer | httpx.TransportError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every request of a transport."""

    namespace: str
    server: Server
    deadline: float
    wait: int
    clock: Clock

    def __post_init__(self) -> None:
        if not self.namespace:
            raise ValueError("A namespace is a text that no other service uses with this server, such as 'shop'.")
        if self.deadline <= 0:
            raise ValueError(f"A deadline is a number of seconds from the start of a request, not {self.deadline}.")


class Attempts:
    """
    The attempts at one request, from the first to the deadline.

    Raises IntentReused, IntentExpired and IntentSpent where not even one may be made.
    """

    def __init__(self, asked: Asked, rules: Rules, stored: Intent, *, new: bool) -> None:
        _refuse(asked, rules, stored, new=new)
        self.asked, self.rules = asked, rules
        self.first_sent_at = stored.first_sent_at
        self.count = 0
        self.ends_at = rules.clock.monotonic() + rules.deadline
        # Of an intent that was stated before nobody here knows how far it came.
        self.in_doubt = not new

    def request(self) -> httpx.Request:
        """The request for the next attempt: the same key and bytes each time, and no longer timeouts than time is left."""
        self.count += 1
        original, server = self.asked.request, self.rules.server
        headers = original.headers.copy()
        headers[server.key_header] = server.key_value(self.asked.key)
        if self.rules.wait and "Prefer" not in headers:
            headers["Prefer"] = f"wait={self.rules.wait}"
        extensions = {name: value for name, value in original.extensions.items() if name != EXTENSION}
        extensions["timeout"] = self._timeouts(extensions.get("timeout", {}))
        stream = httpx.ByteStream(original.content)
        return httpx.Request(original.method, original.url, headers=headers, stream=stream, extensions=extensions)

    def too_late(self) -> bool:
        """Whether nothing may be sent any more: the time is up, or the server may have forgotten the key."""
        return not self._in_time(0)

    def pause_after(self, outcome: Outcome) -> float | None:
        """Seconds until the next attempt; None if there may be none. To be asked once for each outcome."""
        self._note(outcome)
        if not self._helps(outcome):
            return None
        asked_for = outcome.seconds_to_wait(self.rules.clock.now()) if isinstance(outcome, Answer) else 0
        most = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.count - 1, 10))
        pause = asked_for + self.rules.clock.jitter(most)
        return pause if self._in_time(pause) else None

    def end(self, outcome: Outcome) -> Answer:
        """
        The last outcome as the caller may have it: an answer that tells. Raises Unanswered where the request may have taken
        effect and this does not say, IntentReused where the server says so, and httpx's error if nothing was ever sent.
        """
        if isinstance(outcome, httpx.TransportError):
            if self.in_doubt:
                raise self._unanswered() from outcome
            raise outcome
        if outcome.key_reused:
            raise IntentReused(response=outcome.readable)
        if outcome.lost or (self.in_doubt and not outcome.telling):
            raise self._unanswered(outcome.readable)
        return outcome

    def _note(self, outcome: Outcome) -> None:
        unsent = isinstance(outcome, (*UNSENT, *FAULTS))
        doubtful = outcome.doubtful if isinstance(outcome, Answer) else not unsent
        self.in_doubt = self.in_doubt or doubtful

    def _helps(self, outcome: Outcome) -> bool:
        if isinstance(outcome, UNSENT):
            return True
        if not self.rules.server.honours_keys or isinstance(outcome, FAULTS):
            return False
        return not isinstance(outcome, Answer) or (outcome.again and not outcome.key_reused and not outcome.lost)

    def _in_time(self, pause: float) -> bool:
        clock = self.rules.clock
        if clock.monotonic() + pause >= self.ends_at:
            return False
        return not self.rules.server.forgets(self.first_sent_at, clock.now() + timedelta(seconds=pause))

    def _timeouts(self, given: dict[str, float | None]) -> dict[str, float]:
        left = max(self.ends_at - self.rules.clock.monotonic(), 0)
        limits = {name: given.get(name) for name in ("connect", "read", "write", "pool")}
        return {name: left if limit is None else min(limit, left) for name, limit in limits.items()}

    def _unanswered(self, response: httpx.Response | None = None) -> Unanswered:
        return Unanswered(None if self.rules.server.honours_keys else NO_KEYS, response=response)


def _refuse(asked: Asked, rules: Rules, stored: Intent, *, new: bool) -> None:
    if not asked.same(stored):
        raise IntentReused
    if not new and not rules.server.honours_keys:
        raise IntentSpent
    if rules.server.forgets(stored.first_sent_at, rules.clock.now()):
        raise IntentExpired
