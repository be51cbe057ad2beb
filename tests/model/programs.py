"""
Generators as state machines: where one stands is told by its frames, so that two histories that lead to the same
place are one state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Program = Callable[[], Any]


@dataclass(frozen=True)
class Node:
    """One place in a program: what it asks next, or what it returned."""

    program: int
    history: tuple[Any, ...]
    statement: Any = None
    result: Any = None
    function: str = ""

    @property
    def ended(self) -> bool:
        return self.statement is None


class Programs:
    """All programs of a search. Nodes are numbered, and equal places have one number."""

    def __init__(self, programs: list[Program]) -> None:
        self.programs = programs
        self.nodes: list[Node] = []
        self._numbers: dict[Any, int] = {}
        self._steps: dict[tuple[int, Any], int] = {}
        self.starts = [self._reach(number, ()) for number in range(len(programs))]
        self.dead = self._number("dead", Node(-1, (), result="dead"))

    def step(self, number: int, result: Any) -> int:
        """Where a program goes when its statement gives this result."""
        step = (number, result)
        if step not in self._steps:
            node = self.nodes[number]
            self._steps[step] = self._reach(node.program, (*node.history, result))
        return self._steps[step]

    def _reach(self, program: int, history: tuple[Any, ...]) -> int:
        generator = self.programs[program]()
        try:
            statement = _replay(generator, history)
        except StopIteration as stop:
            return self._number((program, "ended", stop.value), Node(program, history, result=stop.value))
        frames = list(_frames(generator))
        place = (program, statement, *((frame.f_lasti, _locals(frame)) for frame in frames))
        node = Node(program, history, statement=statement, function=frames[-1].f_code.co_name)
        generator.close()
        return self._number(place, node)

    def _number(self, place: Any, node: Node) -> int:
        if place not in self._numbers:
            self._numbers[place] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[place]


def _replay(generator: Any, history: tuple[Any, ...]) -> Any:
    statement = next(generator)
    for result in history:
        statement = resume(generator, result)
    return statement


def resume(generator: Any, result: Any) -> Any:
    """The next statement after this result; a class of exception is raised."""
    return generator.throw(result()) if isinstance(result, type) else generator.send(result)


def _frames(generator: Any) -> Any:
    while generator is not None:
        yield generator.gi_frame
        generator = generator.gi_yieldfrom


def _locals(frame: Any) -> tuple[Any, ...]:
    return tuple(sorted(dict(frame.f_locals).items()))
