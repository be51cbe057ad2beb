"""
Each rule taken out, and where that shows. Where another rule covers for it, both are taken out.

`rules` are what the protocol does without, in its own words: a rule that it keeps, or a column of a WHERE.
"""

from __future__ import annotations

from typing import NamedTuple

from .protocol import committed, joined
from .scenarios import Scenario
from .upkeep import purge, recover, staff_release

FAILING = ("keep", "fail")
# Views that end their transaction themselves. "error" is an error of the database; "work" is one more effect.
WILD = (
    "keep",
    "fail",
    "COMMIT keep",
    "COMMIT fail",
    "COMMIT error",
    "COMMIT work keep",
    "ROLLBACK keep",
    "ROLLBACK fail",
    "ROLLBACK work keep",
    "ROLLBACK work fail",
)

LUCKY = Scenario("AAA")
PROMPT = Scenario("AAA", clock=False)
UNLUCKY = Scenario("AA", endings=FAILING, crashes=1, losses=1)
FAILED = Scenario("AAA", endings=FAILING)
PATIENT = Scenario("AA", endings=FAILING, losses=1, patient=True)
MISMATCHED = Scenario("AB", endings=FAILING, losses=1)
RELEASED = Scenario("ABB", endings=FAILING, upkeep=(staff_release,))
BROKEN = Scenario("AA", endings=WILD, crashes=1)
ROLLED_BACK = Scenario("AA", endings=("keep", "fail", "ROLLBACK work keep"), upkeep=(staff_release,))
DISPLACED = Scenario("AB", endings=("ROLLBACK keep",), upkeep=(staff_release,))
OVERWRITTEN = Scenario("AB", endings=("ROLLBACK work keep",), upkeep=(staff_release,))
COMMITTED = Scenario("A", endings=WILD, upkeep=(staff_release,))
UNASKED = Scenario("A", endings=("ROLLBACK work COMMIT fail",), clock=False)
HURRIED = Scenario("AA", clock=False, upkeep=(recover,))
RECOVERED = Scenario("AA", endings=WILD, upkeep=(recover,))
PURGED = Scenario("AA", upkeep=(purge, purge))
RESTARTED = Scenario("A", restarts=1)

JOINED = Scenario("AA", (joined,), FAILING, losses=1)
JOINED_BROKEN = Scenario("AA", (joined,), WILD, crashes=1)
MIXED = Scenario("AA", (committed, joined), FAILING)


class Mutation(NamedTuple):
    name: str
    scenario: Scenario
    rules: tuple[str, ...]


def mutation(name: str, scenario: Scenario, *rules: str) -> Mutation:
    return Mutation(name, scenario, rules)


def whole_where(statement: str, *columns: str) -> tuple[str, ...]:
    return tuple(f"{column} in {statement}" for column in columns)


TAKEOVER, OWNER, RELEASE, COMPLETE = "the takeover's lock", "the owner's lock", "release", "complete"
EVERY_COLUMN = whole_where(TAKEOVER, "claim", "state", "token", "fingerprint", "age")

MUTATIONS = (
    # Rule 1: the owner waits, a duplicate looks at the age first.
    mutation("the owner locks with NOWAIT", PROMPT, "the owner waits"),
    mutation("a duplicate takes over at any age", PROMPT, "a young claim is left alone", f"age in {TAKEOVER}"),
    mutation("the owner runs though its claim is gone", RELEASED, "no row to lock does not mean free"),
    mutation("the owner locks whatever claim is there", RELEASED, f"claim in {OWNER}"),
    mutation("the owner locks what a raw COMMIT left", BROKEN, f"token in {OWNER}"),
    mutation(
        "the owner locks what is completed", UNLUCKY, f"state in {OWNER}", f"token in {OWNER}", f"state in {COMPLETE}"
    ),
    # Rule 2: nobody waits for a view, and the locked row decides.
    mutation("a duplicate's claim waits for the view", PROMPT, "a claim does not wait"),
    mutation("a takeover goes by what it read before", RELEASED, *EVERY_COLUMN),
    mutation("a takeover locks another payload", RELEASED, f"claim in {TAKEOVER}", f"fingerprint in {TAKEOVER}"),
    mutation("a takeover locks what a raw COMMIT left", BROKEN, f"token in {TAKEOVER}"),
    mutation("a raw COMMIT publishes an unstarted claim", BROKEN, "a raw COMMIT publishes the start"),
    mutation("a started record is taken for abandoned", BROKEN, "a started record is unknown"),
    # Rule 3: release by claim and state, and wait for the lock.
    mutation("a release by claim alone", UNLUCKY, f"state in {RELEASE}", f"token in {RELEASE}"),
    mutation("a release of what a raw COMMIT left", BROKEN, f"token in {RELEASE}"),
    mutation("a release of what is unknown", BROKEN, f"state in {RELEASE}"),
    mutation("a release of another's claim", PATIENT, f"claim in {RELEASE}"),
    mutation("a release with SKIP LOCKED", PATIENT, "a release waits"),
    mutation("one number for all claims of a request", PATIENT, "every claim has its own number"),
    # Rule 4: an exception out of COMMIT is not a failure, nor a success.
    mutation("an exception out of COMMIT is a failure", UNLUCKY, "COMMIT's exception is no failure"),
    mutation("an exception out of COMMIT is a success", UNLUCKY, "COMMIT's exception is no success"),
    mutation("a lost COMMIT is only read", PATIENT, "a lost COMMIT is deleted before it is read"),
    mutation("whatever is read after COMMIT is replayed", MISMATCHED, "what is read after COMMIT is judged"),
    # Rule 5: no row never means that the key is free.
    mutation(
        "an empty claim is a claim",
        MISMATCHED,
        "nothing inserted does not mean free",
        "no row to lock does not mean free",
    ),
    mutation("an empty claim is a claim, joined", JOINED_BROKEN, "nothing inserted does not mean free"),
    mutation("what is unclear is not read again", LUCKY, "what is unclear is read again"),
    # Rule 6: the completing UPDATE hits our row in our transaction; a broken boundary is unknown.
    mutation("a completion that hits nothing is committed", BROKEN, "complete must hit one row"),
    mutation("a completion in another transaction", BROKEN, f"transaction in {COMPLETE}"),
    mutation("a completion of another claim", OVERWRITTEN, f"transaction in {COMPLETE}", f"claim in {COMPLETE}"),
    mutation("a completion of what is completed", ROLLED_BACK, f"transaction in {COMPLETE}", f"state in {COMPLETE}"),
    mutation("a broken boundary goes unsaid", BROKEN, "a broken boundary is unknown"),
    mutation("a completed record is put in doubt", UNLUCKY, "state in doubt"),
    mutation("a later claim is put in doubt", FAILED, "started in doubt", "every claim has its own number"),
    mutation("another's claim is put in doubt", DISPLACED, "claim in doubt"),
    mutation("a failed view's transaction is not looked at", UNASKED, "a failed view is asked for its transaction"),
    # Rule 7, and 10 for the staff: what is released is old, unheld, and as it was seen.
    mutation("recover does not wait for the owner", HURRIED, "age in recover", "what is unclear is read again"),
    mutation("recover deletes what is unknown", RECOVERED, "state in recover"),
    mutation("recover deletes what a raw COMMIT left", RECOVERED, "token in recover"),
    mutation("the staff release what a raw COMMIT left", COMMITTED, "token in staff"),
    # Rule 8: the completion waits for the disk.
    mutation("an answer is given before it is on the disk", RESTARTED, "an answer waits for the disk"),
    # Section 11: the outer WHERE of purge has state and time.
    mutation("purge shrinks whatever is there by then", PURGED, "state in shrink"),
    mutation("purge shrinks a fresh answer", PURGED, "age in shrink"),
    mutation("purge deletes what was claimed again", PURGED, "age in delete"),
    mutation("a claim forgets what was claimed again", LUCKY, "age in forget"),
    # Section 3.2: the joined claim.
    mutation("a joined claim waits for the view", JOINED, "a claim does not wait"),
    mutation("a claim waits for a joined view", MIXED, "a claim does not wait"),
    mutation("a raw COMMIT publishes an unstarted joined claim", JOINED_BROKEN, "a raw COMMIT publishes the start"),
    mutation("a joined completion that hits nothing is committed", JOINED_BROKEN, "complete must hit one row"),
    mutation(
        "a joined completion in another transaction",
        JOINED_BROKEN,
        f"transaction in {COMPLETE}",
        f"claim in {COMPLETE}",
    ),
    mutation("an exception out of a joined COMMIT is a failure", JOINED, "COMMIT's exception is no failure"),
)
