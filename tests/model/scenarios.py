"""Who takes part in a search, and what may go wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, islice

from . import protocol
from .protocol import Request, Steps

Program = Callable[[Request], Steps]


@dataclass(frozen=True)
class Actor:
    """A program and its number. Requests that differ in nothing but their number are started in its order."""

    program: Program
    request: Request

    @property
    def number(self) -> int:
        return self.request.number

    @property
    def name(self) -> str:
        return f"{self.program.__name__} {self.number}"

    def start(self) -> Steps:
        return self.program(self.request)

    def is_twin(self, other: Actor) -> bool:
        return self.program is other.program and replace(self.request, number=0) == replace(other.request, number=0)


@dataclass(frozen=True)
class Scenario:
    """
    `payloads` has a letter for each request, and `programs` their programs in turn. `endings` are those of the views
    with payload A; others keep their answers.

    `crashes`, `losses` and `restarts` are how many processes may die, how often a connection, a hook or patience may
    fail, and how often the server may crash; `clock`, whether time may pass; `patient`, that no wait for a lock ends.
    """

    payloads: str = "AA"
    programs: tuple[Program, ...] = (protocol.committed,)
    endings: tuple[str, ...] = ("keep",)
    upkeep: tuple[Program, ...] = ()
    crashes: int = 0
    losses: int = 0
    restarts: int = 0
    clock: bool = True
    patient: bool = False
    mutations: frozenset[str] = frozenset()

    @property
    def actors(self) -> tuple[Actor, ...]:
        programs = [*islice(cycle(self.programs), len(self.payloads)), *self.upkeep]
        payloads = self.payloads + "-" * len(self.upkeep)
        pairs = enumerate(zip(programs, payloads, strict=True), 1)
        return tuple(Actor(program, self.request(number, payload)) for number, (program, payload) in pairs)

    def request(self, number: int, payload: str) -> Request:
        return Request(number, payload, self.endings if payload == "A" else ("keep",), self.mutations)

    @property
    def misfortunes(self) -> tuple[int, int, int]:
        return self.crashes, self.losses, self.restarts

    def is_tame(self, payload: str) -> bool:
        """Whether no view with this payload ends its transaction itself."""
        return payload != "A" or all(len(ending.split()) == 1 for ending in self.endings)

    @property
    def happy(self) -> bool:
        return self.endings == ("keep",)

    def without(self, *rules: str) -> Scenario:
        """The same people, following all rules but these."""
        return replace(self, mutations=frozenset(rules))
