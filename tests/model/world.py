"""
What can happen next: each actor's statement, its death, and what the world does on its own.

Databases and places in programs are numbered, and what a step does is worked out once for each pair of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .database import CUT, DOOMED, IN_DOUBT, Database
from .invariants import broken_by_answer, broken_by_change, broken_by_work
from .programs import Node, Programs
from .protocol import Answer
from .scenarios import Actor, Scenario
from .statements import LOST, REFUSED, Commit, Outcome, Rollback, SameTransaction, Update, Work

FREE, CRASH, LOSS, RESTART = range(-1, 3)


class Move(NamedTuple):
    """`cost` is the misfortune that this move takes: an index, or FREE."""

    label: str
    database: int
    node: int = 0
    cost: int = FREE
    broken: str | None = None


class World:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.actors = scenario.actors
        self.programs = Programs([actor.start for actor in self.actors])
        self.databases: list[Database] = []
        self._numbers: dict[Database, int] = {}
        self._moves: dict[tuple[int, int, int], list[Move]] = {}
        self._events: dict[int, list[Move]] = {}

    def number(self, database: Database) -> int:
        if database not in self._numbers:
            self._numbers[database] = len(self.databases)
            self.databases.append(database)
        return self._numbers[database]

    def moves(self, position: int, database: int, node: int) -> list[Move]:
        """What this actor may do from here: nothing where it has ended."""
        key = (position, database, node)
        if key not in self._moves:
            actor, place = self.actors[position], self.programs.nodes[node]
            steps = [] if place.ended else self._steps(actor, self.databases[database], node, place)
            self._moves[key] = steps
        return self._moves[key]

    def _steps(self, actor: Actor, before: Database, node: int, place: Node) -> list[Move]:
        outcomes = _outcomes(place.statement, before, actor.number)
        if self.scenario.patient:
            outcomes = [outcome for outcome in outcomes if outcome.result is not REFUSED or not outcome.fault]
        moves = [self._move(actor, before, node, outcome) for outcome in outcomes]
        if node not in self.programs.starts:
            after = _died(before, actor.number, place.statement).retire(actor.number)
            moves.append(Move(f"{actor.name} is killed", self.number(after), self.programs.dead, CRASH))
        return moves

    def _move(self, actor: Actor, before: Database, node: int, outcome: Outcome) -> Move:
        place, after = self.programs.nodes[node], outcome.database
        reached = self.programs.step(node, outcome.result)
        label = f"{actor.name}: {type(place.statement).__name__} {outcome.label}"
        broken = self._broken(actor, before, outcome, place)
        answer = self.programs.nodes[reached].result
        if isinstance(answer, Answer):
            label += f"; answers {answer}"
            broken = broken or broken_by_answer(answer, actor.request, after, self.scenario)
        if self.programs.nodes[reached].ended:
            after = after.retire(actor.number)
        return Move(label, self.number(after), reached, LOSS if outcome.fault else FREE, broken)

    def _broken(self, actor: Actor, before: Database, outcome: Outcome, place: Node) -> str | None:
        starts = isinstance(place.statement, Work) and place.statement.starts and outcome.result is not LOST
        broken = broken_by_work(actor.request, before) if starts else None
        return broken or broken_by_change(before, outcome.database, self.scenario)

    def events(self, database: int) -> list[Move]:
        """What happens without anybody's doing: time, the end of a lost transaction, a crash of the server."""
        if database not in self._events:
            before = self.databases[database]
            self._events[database] = [
                Move(
                    label,
                    self.number(after),
                    cost=cost,
                    broken=broken_by_change(before, after, self.scenario),
                )
                for label, after, cost in self._changes(before)
            ]
        return self._events[database]

    def _changes(self, before: Database) -> Any:
        if self.scenario.clock and before.row and before.row.older() != before.row:
            yield "time passes", before._replace(row=before.row.older()), FREE
        for found in before.transactions:
            if found.fate in (DOOMED, IN_DOUBT):
                yield f"the server rolls back the lost transaction of {found.xid[0]}", before.rollback(found), FREE
            if found.fate == IN_DOUBT:
                yield f"the lost COMMIT of {found.xid[0]} arrives", before.commit(found), FREE
        if self.scenario.restarts:
            yield "the server crashes and starts again", before.crash(), RESTART


def _outcomes(statement: Any, before: Database, number: int) -> list[Outcome]:
    own = before.transaction(number)
    if own is None:
        return statement.execute(before, number)
    if own.fate == CUT:
        return [Outcome("finds its connection cut", before.rollback(own), LOST)]
    outcomes = statement.execute(before, number)
    if isinstance(statement, Commit | Rollback | SameTransaction | Update | Work):
        fate = _lose(before, number, statement)
        outcomes = [*outcomes, Outcome("loses its connection", fate, LOST, fault=True)]
    return outcomes


def _lose(before: Database, number: int, statement: Any) -> Database:
    return before.change(number, fate=IN_DOUBT if isinstance(statement, Commit) else DOOMED)


def _died(before: Database, number: int, statement: Any) -> Database:
    """A dead process leaves its transaction to the server; its COMMIT may be on the way."""
    own = before.transaction(number)
    if own is None:
        return before
    return before.rollback(own) if own.fate == CUT else _lose(before, number, statement)
