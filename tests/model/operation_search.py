"""Every interleaving of the workers of an operation, breadth first, and what must be true in all of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .operations import (
    APPROVED,
    COMPLETED,
    DECLINED,
    FREE,
    NEVER,
    NOTHING,
    PROCESSING,
    Model,
    Move,
    Scenario,
    State,
    Worker,
)


def broken_state(state: State) -> str | None:
    """What is wrong with a state by itself. Of each operation under the key there is at most one charge."""
    operations = state.closed + 1
    if state.gateway.charges > operations:
        return "two charges under one operation"
    if state.booked > operations:
        return "one charge was booked twice"
    if state.messages > operations or state.messages > state.booked:
        return "a message was sent for nothing"
    return broken_record(state)


def broken_record(state: State) -> str | None:
    record = state.record
    if record is None or record.state != COMPLETED:
        return None
    if record.answer not in (APPROVED, DECLINED, NEVER, NOTHING):
        return f"the answer for ever is: {record.answer}"
    charges = state.gateway.charges - state.closed
    if charges != (record.answer == APPROVED):
        return f"the answer is {record.answer}, and the gateway has {charges} charges"
    if state.booked - state.closed != charges:
        return f"the gateway has {charges} charges, and {state.booked - state.closed} are booked"
    return None


def broken_answer(after: State) -> str | None:
    """A client is told what the record says, or nothing."""
    for me in after.workers:
        told = me.place.removeprefix("end ")
        if told in (APPROVED, DECLINED, NOTHING) and (after.record is None or after.record.answer != told):
            return f"a client was told {told}, and the record says {after.record}"
    return None


@dataclass
class OperationSearch:
    scenario: Scenario
    reached: dict[State, tuple[State, str] | None] = field(default_factory=dict)
    ends: int = 0
    seen: set[str] = field(default_factory=set)
    """How operations and workers ended."""

    def __post_init__(self) -> None:
        self.model = Model(self.scenario)

    def run(self) -> str | None:
        """A shortest counterexample; None where nothing breaks."""
        start = self.model.start()
        self.reached = {start: None}
        queue = deque([start])
        while queue:
            state = queue.popleft()
            goes_on = False
            for move in self.model.moves(state):
                after = self.paid(state, move)
                if after is None:
                    continue
                goes_on = goes_on or move.cost == FREE
                if after in self.reached and not move.broken:
                    continue
                self.reached.setdefault(after, (state, move.label))
                if broken := move.broken or broken_state(after) or broken_answer(after):
                    return self.told(after, broken)
                queue.append(after)
            if not goes_on and (broken := self.broken_at_the_end(state)):
                return self.told(state, broken)
        return None

    def paid(self, state: State, move: Move) -> State | None:
        """The state after a move; None where no such misfortune is left."""
        if move.cost == FREE:
            return move.state
        left = list(state.left)
        left[move.cost] -= 1
        return move.state._replace(left=tuple(left)) if left[move.cost] >= 0 else None

    def broken_at_the_end(self, state: State) -> str | None:
        """When nothing more happens by itself, upkeep comes, lucky, as often as there is something to do."""
        self.ends += 1
        self.seen |= {me.place for me in state.workers} | {state.record.state if state.record else "none"}
        for _ in range(3):
            if state.record is None or state.record.state != PROCESSING:
                break
            if not self.model.may_lapse(state):
                return "who hangs keeps its operation for ever"
            state = state._replace(record=state.record._replace(lapsed=True))
            found = self.upkeep(state)
            if isinstance(found, str):
                return found
            state = found
        if state.record and state.record.state == PROCESSING:
            return "nobody goes on with what was left"
        return None

    def upkeep(self, state: State) -> State | str:
        """One more worker, alone and lucky: it takes the first move that costs nothing."""
        scenario = Scenario(**{**vars(self.scenario), "workers": (*self.scenario.workers, "upkeep")})
        model, number = Model(scenario), len(state.workers)
        state = state._replace(workers=(*state.workers, Worker()))
        while not state.workers[number].place.startswith("end"):
            me = state.workers[number]
            if me.place == "wait":
                moves = [move for move in model.deliveries(state) if move.cost == FREE]
            else:
                moves = [move for move in getattr(model, me.place.split()[0])(state, number, me) if move.cost == FREE]
            state = moves[0].state
            if broken := moves[0].broken or broken_state(state) or broken_answer(state):
                return broken
        return state._replace(workers=state.workers[:-1])

    def told(self, state: State, broken: str) -> str:
        steps: list[str] = []
        while (origin := self.reached[state]) is not None:
            state, label = origin
            steps.insert(0, label)
        return "\n".join([broken, *(f"{number:3}  {step}" for number, step in enumerate(steps, 1))])
