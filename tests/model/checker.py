"""Every interleaving, breadth first, so that the first counterexample is a shortest one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .database import OLD, PROCESSING, Database
from .invariants import broken_at_the_end, broken_by_change, broken_by_retry
from .programs import resume
from .protocol import Answer
from .scenarios import Scenario
from .world import FREE, World

# The number of the request that is made when all is over.
LAST = 9

State = tuple[int, ...]
"""The database, where each actor stands, and how many misfortunes of each kind are left."""


@dataclass(frozen=True)
class Counterexample:
    broken: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.broken, *(f"{number:3}  {step}" for number, step in enumerate(self.steps, 1))])


@dataclass
class Search:
    """One search; `reached` says from where, and by what, each state was first reached."""

    scenario: Scenario
    world: World = field(init=False)
    reached: dict[State, Any] = field(init=False)
    ends: int = 0
    counterexample: Counterexample | None = None

    def __post_init__(self) -> None:
        self.world = World(self.scenario)
        start = (self.world.number(Database()), *self.world.programs.starts, *self.scenario.misfortunes)
        self.reached = {start: None}
        self.actors = range(len(self.world.actors))
        self.first_cost = 1 + len(self.world.actors)
        twins = zip(self.world.actors, self.world.actors[1:], strict=False)
        self.has_elder_twin = [False, *(one.is_twin(other) for one, other in twins)]
        self._retries: dict[int, str | None] = {}

    def run(self) -> Counterexample | None:
        queue = deque(self.reached)
        while queue:
            state = queue.popleft()
            goes_on = False
            for label, after, cost, broken in self.successors(state):
                if broken:
                    return self.found(state, broken, label)
                goes_on = goes_on or cost == FREE
                if after not in self.reached:
                    self.reached[after] = (state, label)
                    queue.append(after)
            broken = self.waits_for_a_view(state) or (None if goes_on else self.broken_at_the_end(state))
            if broken:
                return self.found(state, broken)
        return None

    def successors(self, state: State) -> Iterator[tuple[str, State, int, str | None]]:
        starts = self.world.programs.starts
        for position in self.actors:
            node = state[1 + position]
            if self.has_elder_twin[position] and node == starts[position] and state[position] == starts[position - 1]:
                continue
            for move in self.world.moves(position, state[0], node):
                after = self.pay(state, move.cost)
                if after:
                    after[0], after[1 + position] = move.database, move.node
                    yield move.label, tuple(after), move.cost, move.broken
        for move in self.world.events(state[0]):
            after = self.pay(state, move.cost)
            if after:
                after[0] = move.database
                yield move.label, tuple(after), move.cost, move.broken

    def pay(self, state: State, cost: int) -> list[int] | None:
        """The state to be changed, or None where no such misfortune is left."""
        after = list(state)
        if cost != FREE:
            after[self.first_cost + cost] -= 1
            if after[self.first_cost + cost] < 0:
                return None
        return after

    def waits_for_a_view(self, state: State) -> str | None:
        """A claim that waits would make a duplicate's client wait as long as the first one's view runs."""
        nodes, database = self.world.programs.nodes, self.world.databases[state[0]]
        for position in self.actors:
            if nodes[state[1 + position]].function != "insert":
                continue
            actor, moves = self.world.actors[position], self.world.moves(position, state[0], state[1 + position])
            writer = database.writer(actor.number)
            if writer and all(move.cost != FREE for move in moves) and nodes[state[writer.xid[0]]].function == "view":
                return f"{actor.name} cannot claim before the view of {writer.xid[0]} has ended"
        return None

    def broken_at_the_end(self, state: State) -> str | None:
        self.ends += 1
        places = [self.world.programs.nodes[state[1 + position]] for position in self.actors]
        if not all(place.ended for place in places):
            return "somebody waits for ever"
        left = state[self.first_cost :]
        answers = [place.result for place in places if isinstance(place.result, Answer)]
        database = self.world.databases[state[0]]
        return broken_at_the_end(database, answers, self.scenario, left) or self.retry(state[0])

    def retry(self, number: int) -> str | None:
        """Whether, all being over and time having passed, one more request is served."""
        if number not in self._retries:
            self._retries[number] = self._retry(number)
        return self._retries[number]

    def _retry(self, number: int) -> str | None:
        database = self.world.databases[number]
        payload = database.row.fingerprint if database.row else "A"
        if database.row and database.row.state == PROCESSING:
            database = database._replace(row=database.row._replace(age=OLD))
        return serve_once_more(self.scenario, database, payload)

    def found(self, state: State, broken: str, *last: str) -> Counterexample:
        steps = [*last]
        while (origin := self.reached[state]) is not None:
            state, label = origin
            steps.insert(0, label)
        self.counterexample = Counterexample(broken, tuple(steps))
        return self.counterexample


def serve_once_more(scenario: Scenario, database: Database, payload: str) -> str | None:
    """One request, alone with the database and lucky."""
    steps = scenario.programs[0](replace(scenario.request(LAST, payload), endings=("keep",)))
    result = None
    try:
        while True:
            outcomes = resume(steps, result).execute(database, LAST)
            if not outcomes or outcomes[0].fault:
                return "when all was over, a retry waits for ever"
            broken = broken_by_change(database, outcomes[0].database, scenario)
            if broken:
                return broken
            database, result = outcomes[0].database, outcomes[0].result
    except StopIteration as stop:
        return broken_by_retry(stop.value, payload, scenario)
