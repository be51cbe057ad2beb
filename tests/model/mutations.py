"""
Each rule of section 3.1 and 11, taken out; where another rule covers it, both are.

`rules` are what the protocol does without, in the words that it uses; `scenario` is where the loss shows.
"""

from __future__ import annotations

from typing import NamedTuple

from .protocol import committed, joined
from .scenarios import Scenario
from .upkeep import purge, recover, staff_release

FAILING = ("keep", "fail")
WILD = (
    "keep",
    "fail",
    "COMMIT keep",
    "COMMIT fail",
    "COMMIT work keep",
    "ROLLBACK keep",
    "ROLLBACK work keep",
    "ROLLBACK work fail",
)

LUCKY = Scenario("AAA")
PROMPT = Scenario("AAA", clock=False)
UNLUCKY = Scenario("AA", endings=FAILING, crashes=1, losses=1)
MISMATCHED = Scenario("AB", endings=FAILING, crashes=1, losses=1)
BREAKING = Scenario("AA", endings=WILD, crashes=1, losses=1)
PATIENT = Scenario("AA", endings=FAILING, losses=1, patient=True)
FORGETTING = Scenario("AA", upkeep=(purge, purge), losses=1)


class Mutation(NamedTuple):
    name: str
    rules: tuple[str, ...]
    scenario: Scenario


MUTATIONS = (
    Mutation("the owner does not wait for its lock", ("the owner waits",), PROMPT),
    Mutation(
        "a duplicate takes over at any age", ("a young claim is left alone", "age in the takeover's lock"), PROMPT
    ),
)
