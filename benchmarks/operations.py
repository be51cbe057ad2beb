"""A durable operation beside a workflow of DBOS Transact: the same three steps, taken in turns in one process."""

import gc
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from time import perf_counter_ns

from benchmarks.latency import WARM_UP, Misbehaviour, Timing, timing
from benchmarks.models import GatewayPayment
from benchmarks.statements import Sent, counting

AMOUNT = 500
USERS_OWN = Sent(statements=2)
"""The INSERT and the UPDATE of the payment."""

Run = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    title: str
    running: Callable[[], AbstractContextManager[Run]]
    """What runs the three steps once."""
    counting: Callable[[], AbstractContextManager[Sent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    title: str
    timing: Timing
    own: Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    rounds: int
    lines: list[Line]
    """Ours first."""
    absent: list[tuple[str, str]]


def compare_operations(rounds: int) -> Durability:
    """Ours and, where it is installed, DBOS Transact."""
    sides, absent = [Side(title="django-idempotency, operation", running=ours, counting=counting)], []
    if find_spec("dbos"):
        sides.append(dbos())
    else:
        absent.append(("dbos", "not installed"))
    with ExitStack() as stack:
        runs = [stack.enter_context(side.running()) for side in sides]
        samples = measure(runs, rounds)
        lines = [line(side, run, taken) for side, run, taken in zip(sides, runs, samples, strict=True)]
    return Durability(rounds=rounds, lines=lines, absent=absent)


@contextmanager
def ours() -> Iterator[Run]:
    from benchmarks.durable import pay

    def run() -> None:
        pay.run(key=str(uuid.uuid4()), amount=AMOUNT)

    yield run


def dbos() -> Side:
    from benchmarks import transact

    return Side(title=f"dbos {version('dbos')}, workflow", running=transact.workflows, counting=transact.counting)


def measure(runs: Sequence[Run], rounds: int) -> list[list[float]]:
    """Milliseconds of each run, for each side. Raises Misbehaviour unless each left one payment, recorded."""
    take_turns(runs, WARM_UP)
    gc.collect()
    gc.freeze()
    before = recorded()
    samples = take_turns(runs, rounds)
    if recorded() - before != rounds * len(runs):
        raise Misbehaviour("the number of recorded payments is not the number of operations")
    return samples


def recorded() -> int:
    return GatewayPayment.objects.exclude(reference="").count()


def take_turns(runs: Sequence[Run], rounds: int) -> list[list[float]]:
    samples: list[list[float]] = [[] for _ in runs]
    order = random.Random(1)
    for _ in range(rounds):
        turns = list(zip(runs, samples, strict=True))
        order.shuffle(turns)
        for run, into in turns:
            into.append(milliseconds(run))
    return samples


def milliseconds(run: Run) -> float:
    started = perf_counter_ns()
    run()
    return (perf_counter_ns() - started) / 1e6


def line(side: Side, run: Run, samples: Sequence[float]) -> Line:
    return Line(title=side.title, timing=timing(samples), own=least(side, run) - USERS_OWN)


def least(side: Side, run: Run) -> Sent:
    """What it sends. The least of some runs, for what DBOS asks in the background is counted as well."""
    counts = []
    for _ in range(5):
        with side.counting() as sent:
            run()
        counts.append(sent)
    return min(counts, key=lambda sent: sent.statements)
