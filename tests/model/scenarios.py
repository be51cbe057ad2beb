"""Who takes part in a search, and what may go wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from . import protocol
from .database import Database
from .protocol import Request


@dataclass(frozen=True)
class Actor:
    """A program and its number. Requests that differ in nothing but their number are started in its order."""

    program: Callable[[Request], Any]
    request: Request

    @property
    def number(self) -> int:
        return self.request.number

    @property
    def name(self) -> str:
        return f"{self.program.__name__} {self.number}"

    def start(self) -> Any:
        return self.program(self.request)

    def is_twin(self, other: Actor) -> bool:
        return self.program is other.program and replace(self.request, number=0) == replace(other.request, number=0)


@dataclass(frozen=True)
class Scenario:
    """`crashes`, `losses` and `restarts` are how many of each may happen; `clock`, whether time may pass."""

    name: str
    program: Callable[..., Any] = protocol.committed
    payloads: str = "AAA"
    endings: tuple[str, ...] = ("keep",)
    upkeep: tuple[Callable[..., Any], ...] = ()
    crashes: int = 0
    losses: int = 0
    restarts: int = 0
    clock: bool = True
    attempts: int = 3
    mutations: frozenset[str] = frozenset()
    database: Database = Database()

    @property
    def actors(self) -> tuple[Actor, ...]:
        programs = [self.program] * len(self.payloads) + list(self.upkeep)
        payloads = self.payloads + "-" * len(self.upkeep)
        pairs = enumerate(zip(programs, payloads, strict=True), 1)
        return tuple(Actor(program, self.request(number, payload)) for number, (program, payload) in pairs)

    def request(self, number: int, payload: str) -> Request:
        return Request(number, payload, self.endings, self.mutations, self.attempts)

    @property
    def misfortunes(self) -> tuple[int, int, int]:
        return self.crashes, self.losses, self.restarts

    @property
    def tame(self) -> bool:
        return all(len(ending.split()) == 1 for ending in self.endings)

    @property
    def happy(self) -> bool:
        return self.endings == ("keep",)

    def mutated(self, *mutations: str) -> Scenario:
        return replace(self, mutations=frozenset(mutations))
