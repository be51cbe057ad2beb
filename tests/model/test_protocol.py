"""
The claim protocol in every interleaving: with all its rules nothing breaks, and without any one of them something does.

Run with -s to see the counterexamples.
"""

from dataclasses import replace

import pytest

from .checker import Search
from .mutations import FAILING, MUTATIONS, WILD
from .protocol import committed, joined
from .scenarios import Scenario
from .upkeep import purge, recover, staff_release

pytestmark = pytest.mark.slow

COMPLETE_SEARCHES = {
    "three equal requests": Scenario("AAA", endings=FAILING, crashes=2, losses=1),
    "three requests, one of another payload": Scenario("AAB", endings=FAILING, crashes=2, losses=1),
    "nobody dies and every wait ends": Scenario("AAB", endings=FAILING, losses=2, patient=True),
    "nothing goes wrong": Scenario("AAAA"),
    "nothing goes wrong and no time passes": Scenario("AAAA", clock=False),
    "recover and the staff": Scenario("AA", endings=FAILING, upkeep=(recover, staff_release), crashes=1, losses=1),
    "recover, the staff and another payload": Scenario(
        "AB", endings=FAILING, upkeep=(recover, staff_release), crashes=1, losses=1
    ),
    "two purges": Scenario("AB", upkeep=(purge, purge), crashes=1, losses=1),
    "three requests and a purge": Scenario("AAB", upkeep=(purge,)),
    "the server crashes": Scenario("AAB", endings=FAILING, restarts=1, crashes=1),
    "views end their transaction": Scenario("AAB", endings=WILD, crashes=1),
    "views end their transaction, and upkeep": Scenario("AB", endings=WILD, upkeep=(recover, staff_release)),
    "views commit another transaction at once": Scenario(
        "AAB", endings=("keep", "ROLLBACK work COMMIT keep", "ROLLBACK work COMMIT fail"), clock=False
    ),
    "three joined requests": Scenario("AAA", (joined,), FAILING, crashes=3, losses=3),
    "three joined requests, one of another payload": Scenario("AAB", (joined,), FAILING, crashes=1, losses=1),
    "joined requests and two purges": Scenario("AB", (joined,), upkeep=(purge, purge), crashes=1, losses=1),
    "joined views end their transaction": Scenario("AAB", (joined,), WILD, crashes=1),
    "the server crashes under joined requests": Scenario("AAB", (joined,), FAILING, restarts=1, crashes=1),
    "committed and joined claims": Scenario("AAA", (committed, joined), FAILING, crashes=1, losses=1),
    "committed and joined claims, broken by views": Scenario("ABA", (joined, committed, committed), WILD, crashes=1),
}

# Effects of a transaction that is not ours, while the one with the record is undone: no statement of ours can tie them
# together again. The documentation says so.
BEYOND_HELP = {
    "another transaction, and time passes": Scenario("AA", endings=("ROLLBACK work COMMIT keep",)),
    "another transaction, and a crash": Scenario("A", endings=("ROLLBACK work COMMIT keep",), crashes=1, clock=False),
    "another transaction, and an error of the database": Scenario(
        "A", endings=("ROLLBACK work COMMIT error",), clock=False
    ),
    "another transaction, joined": Scenario("A", (joined,), ("ROLLBACK work COMMIT keep",), clock=False),
}

PAIRS = [(mutation, rule) for mutation in MUTATIONS if len(mutation.rules) > 1 for rule in mutation.rules]


@pytest.mark.parametrize("scenario", COMPLETE_SEARCHES.values(), ids=COMPLETE_SEARCHES)
def test_the_protocol_keeps_its_promises(scenario):
    search = Search(scenario)
    assert search.run() is None, str(search.counterexample)
    print(f"\n{len(search.reached)} states, {search.ends} ends")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_a_rule_a_promise_is_broken(mutation):
    search = Search(mutation.scenario.without(*mutation.rules))
    assert search.run() is not None
    print(f"\n{search.counterexample}")


@pytest.mark.parametrize(("mutation", "rule"), PAIRS, ids=lambda value: getattr(value, "name", value))
def test_one_rule_covers_for_the_other(mutation, rule):
    search = Search(mutation.scenario.without(rule))
    assert search.run() is None, str(search.counterexample)


@pytest.mark.parametrize("scenario", dict.fromkeys(mutation.scenario for mutation in MUTATIONS))
def test_what_shows_a_mutation_is_no_fault_of_the_protocol(scenario):
    search = Search(scenario)
    assert search.run() is None, str(search.counterexample)


@pytest.mark.parametrize("scenario", BEYOND_HELP.values(), ids=BEYOND_HELP)
def test_a_view_that_rolls_back_and_commits_something_else_is_beyond_help(scenario):
    search = Search(scenario)
    assert search.run() is not None
    print(f"\n{search.counterexample}")


def test_a_search_sees_every_answer():
    search = Search(Scenario("AAB", endings=FAILING, restarts=1))
    assert search.run() is None
    answers = {node.result[0] for node in search.world.programs.nodes if isinstance(node.result, tuple)}
    assert answers >= {"2xx", "replay", "failure", "409", "412", "422", "503"}


def test_a_search_sees_what_views_leave_unknown():
    search = Search(replace(COMPLETE_SEARCHES["views end their transaction"], payloads="AA"))
    assert search.run() is None
    answers = {node.result[0] for node in search.world.programs.nodes if isinstance(node.result, tuple)}
    assert answers >= {"outcome unknown", "broken transaction"}
