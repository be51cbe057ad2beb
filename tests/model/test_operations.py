"""
A durable operation in every interleaving: with all its rules nothing breaks, and without any one of them something does.

Run with -s to see the counterexamples.
"""

from dataclasses import replace
from functools import cache

import pytest

from .operation_search import OperationSearch
from .operations import Scenario

# Crashes, leases that run out, answers that are lost, look-ups that lag, look-ups that are down.
CALM, ROUGH = (0, 0, 0, 0, 0), (1, 1, 1, 0, 0)

SEARCHES = {
    "nothing goes wrong": Scenario(("old", "old", "upkeep"), CALM),
    "two workers": Scenario(),
    "two workers, a gateway without keys": Scenario(keys=False),
    "two workers, two leases run out": Scenario(left=(1, 2, 1, 0, 0)),
    "a worker and upkeep, with every misfortune": Scenario(("old", "upkeep"), (1, 2, 1, 1, 1), declines=True),
    "the same without keys": Scenario(("old", "upkeep"), (1, 2, 1, 1, 1), declines=True, keys=False),
    "two workers and upkeep": Scenario(("old", "old", "upkeep"), (0, 1, 1, 0, 0)),
    "two workers and upkeep, one dies": Scenario(("old", "old", "upkeep"), (1, 1, 0, 0, 0)),
    "the staff settles what is unknown": Scenario(("old", "upkeep"), ROUGH, staff=True, declines=True),
    "the staff, a gateway without keys": Scenario(("old", "upkeep"), (1, 2, 1, 0, 0), keys=False, staff=True),
    "the key is used again": Scenario(left=(0, 1, 1, 0, 0), forgets=True),
    "the step is renamed": Scenario(("old", "renamed"), ROUGH),
    "the step is removed": Scenario(("old", "removed"), ROUGH),
}
LARGE = {
    "two workers and upkeep, with misfortunes": Scenario(("old", "old", "upkeep"), ROUGH),
    "two workers and upkeep, without keys": Scenario(("old", "old", "upkeep"), ROUGH, keys=False, staff=True),
}

BLIND = Scenario(("old", "upkeep"), (1, 1, 1, 0, 0), keys=False)
LAGGING = Scenario(("old", "upkeep"), (1, 1, 0, 1, 0))
TWO = Scenario(left=(0, 1, 0, 0, 0))
TWO_BLIND = replace(TWO, keys=False)
LOST = Scenario(left=(0, 0, 1, 0, 0))
WORKED = Scenario(("old", "upkeep"), (1, 1, 1, 0, 0))
DELAYED = Scenario(left=(0, 2, 1, 0, 0))
SETTLED = Scenario(("old", "upkeep"), (1, 1, 1, 0, 0), keys=False, staff=True)
REUSED = Scenario(left=(0, 0, 0, 0, 0), forgets=True)
FOLLOWED = Scenario(("old", "upkeep", "upkeep"), (1, 1, 0, 0, 0), keys=False)
DONE = Scenario(("old", "upkeep"), (1, 1, 0, 0, 0))

# What is taken out, by the rules of the design, and where that shows.
MUTATIONS = {
    # 1: finished steps return what they returned, and nothing new runs beside what the journal has.
    "finished steps are done again": (DONE, "finished steps are not done again"),
    "a renamed step is a new one": (SEARCHES["the step is renamed"], "a changed step is parked"),
    "the function ends before the journal": (SEARCHES["the step is removed"], "no end before the journal's"),
    # 2: written down before sending, looked up before sending again, and not for ever.
    "a call is sent before it is written down": (replace(BLIND, left=(1, 1, 0, 0, 0)), "requested before sending"),
    "a call is sent again without asking": (BLIND, "the look-up is asked first"),
    "what is not found is sent again without keys": (BLIND, "only a gateway with keys is sent it again"),
    "what is not found is sent again for ever": (LAGGING, "nothing is sent again after key_ttl"),
    "each attempt has its own key": (DELAYED, "the key is derived from the operation"),
    # 3: a timeout is unknown; the deadline; the heartbeat's maximum.
    "a timeout is declined": (LOST, "a timeout is unknown"),
    "a late call is sent": (TWO, "the deadline is asked before sending"),
    "a hung call keeps its lease": (LOST, "signs of life have a maximum"),
    # 4: the fence of every write.
    "a request without the fence": (TWO_BLIND, "the fence of request"),
    "a result without the fence": (SETTLED, "the fence of finish"),
    "a phase without the fence": (TWO, "the fence of book"),
    "an answer without the fence": (SEARCHES["the step is removed"], "the fence of complete"),
    "a postponement without the fence": (Scenario(left=(0, 1, 1, 0, 0)), "the fence of postpone"),
    "parking without the fence": (FOLLOWED, "the fence of park"),
    "a renewal without the fence": (FOLLOWED, "the fence of resend"),
    "the fence is only read": (TWO, "the fence is a lock"),
    "a takeover keeps the token": (TWO, "a takeover raises the token"),
    "a live lease is taken over": (Scenario(left=CALM), "a live lease is left alone"),
    "a lost answer is given": (Scenario(left=(0, 1, 1, 0, 0), declines=True, keys=False), "a lost answer is discarded"),
    "what has failed is released": (replace(LOST, keys=False), "what has failed is not released"),
    # 5: upkeep needs no request.
    "upkeep passes by": (WORKED, "upkeep resumes"),
    # 6: no writes inside a call.
    "a booking inside the call": (WORKED, "no writes inside a call"),
    # 7: what is put off has no answer.
    "a gateway that is down is an answer": (LOST, "what is put off has no answer"),
    # 8: a message commits with its phase.
    "a message before its phase": (TWO, "a message commits with its phase"),
    # 9: the key is remembered for longer than the gateway's.
    "the key is free too early": (REUSED, "the key is remembered as long as the gateway does"),
    "the journal outlives its record": (REUSED, "the journal goes with its record"),
    # 10: what never happened is over, after a while.
    "a person does not wait": (SETTLED, "a person waits until nothing is on its way"),
    "what never happened is sent after all": (SETTLED, "never happened is the end"),
}


@pytest.mark.parametrize("scenario", SEARCHES.values(), ids=SEARCHES)
def test_an_operation_keeps_its_promises(scenario: Scenario) -> None:
    search = OperationSearch(scenario)
    assert search.run() is None
    print(f"\n{len(search.reached)} states, {search.ends} ends")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", LARGE.values(), ids=LARGE)
def test_an_operation_keeps_its_promises_to_many(scenario: Scenario) -> None:
    search = OperationSearch(scenario)
    assert search.run() is None
    print(f"\n{len(search.reached)} states, {search.ends} ends")


@cache
def unbroken(scenario: Scenario) -> bool:
    return OperationSearch(scenario).run() is None


@pytest.mark.parametrize(("scenario", "rule"), MUTATIONS.values(), ids=MUTATIONS)
def test_without_a_rule_a_promise_is_broken(scenario: Scenario, rule: str) -> None:
    assert unbroken(scenario)
    broken = OperationSearch(replace(scenario, without=frozenset({rule}))).run()
    assert broken is not None
    print(f"\n{broken}")


def test_a_search_sees_every_end() -> None:
    search = OperationSearch(SEARCHES["the staff settles what is unknown"])
    assert search.run() is None
    assert search.seen >= {"completed", "end approved", "end declined", "end later", "end unknown", "end dead"}
