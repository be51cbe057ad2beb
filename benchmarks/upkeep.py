"""How fast the purge is on a server that has nothing else to do, and what requests notice of it on one that has."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from django.db import connections

from benchmarks.cycles import Cycles, go_round
from benchmarks.databases import ask
from benchmarks.growth import milliseconds
from benchmarks.latency import Misbehaviour, Timing, timing
from benchmarks.purging import Purging, purging
from benchmarks.records import TABLE, answered_key, copy_record, settle
from benchmarks.variants import LARGE

EXPIRED = {"expires_at": "statement_timestamp() - interval '1 day' - age"}
FORGOTTEN = EXPIRED | {"forget_at": EXPIRED["expires_at"]}
TURNS = 5
"""How often requests are measured without a purge and with one, in turns: drift hits both alike."""
LOT = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Requests that came as fast as one client got its answers, without something and beside it."""

    quiet: Timing
    beside: Timing

    @property
    def ratio(self) -> float:
        """Of the requests' p99: beside it, to without it."""
        return self.beside.p99 / self.quiet.p99


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """One kind of purge: alone, and beside requests."""

    step: str
    rows: int
    alone: float
    """Rows a second."""
    held: float
    """The same beside requests."""
    requests: Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    records: int
    purges: list[Purge]
    control: Turns
    """Requests beside a process that only computes, in the rhythm of the purge."""
    cycles: Cycles


def keep_up(rows: int, turn: float, say: Callable[[str], None]) -> Upkeep:
    """Purges that many answers, then that many tombstones, alone and then with requests in turns of so many seconds."""
    records = int(ask("large", f"SELECT count(*) FROM {TABLE}"))
    with purging("large") as process:
        shrunk = both_ways("shrinking answers to tombstones", expire_answers, (rows, turn, process), say)
        deleted = both_ways("deleting tombstones", forget_tombstones, (rows, turn, process), say)
        say(f"beside a process that only computes, {TURNS} turns of {turn:g} s")
        control, _ = in_turns(turn, process, process.compute)
        say(f"three cycles of {rows:,} records")
        cycles = go_round(rows, process)
    return Upkeep(records=records, purges=[shrunk, deleted], control=control, cycles=cycles)


def both_ways(
    step: str, prepare: Callable[[int], None], how: tuple[int, float, Purging], say: Callable[[str], None]
) -> Purge:
    rows, turn, process = how
    say(f"{step}: {rows:,} rows, alone")
    prepare(rows)
    alone = rate_alone(step, rows, process)
    say(f"{step}: beside requests, {TURNS} turns of {turn:g} s")
    # At least as many as it could do in this time.
    prepare(int(max(rows, TURNS * turn * alone)))
    requests, held = in_turns(turn, process, process.begin)
    process.begin()
    process.ended()
    return Purge(step=step, rows=rows, alone=alone, held=held, requests=requests)


def rate_alone(step: str, rows: int, process: Purging) -> float:
    # An open connection that has just been used would be somebody to make way for.
    connections["large"].close()
    process.begin()
    seconds, done = process.ended()
    if done < rows:
        raise Misbehaviour(f"{step}: {done} of {rows} rows")
    return done / seconds


def in_turns(turn: float, process: Purging, begin: Callable[[float], None]) -> tuple[Turns, float]:
    """What requests took without what the process does and beside it, and the rows a second that it held."""
    quiet: list[float] = []
    beside: list[float] = []
    totals = [0.0, 0]
    for _ in range(TURNS):
        quiet += requests_for(turn)
        begin(turn)
        beside += requests_for(turn)
        seconds, rows = process.ended()
        totals = [totals[0] + seconds, totals[1] + rows]
    return Turns(quiet=timing(quiet), beside=timing(beside)), totals[1] / totals[0]


def requests_for(seconds: float) -> list[float]:
    samples, end = [], perf_counter() + seconds
    while perf_counter() < end:
        samples.append(milliseconds(LARGE.client, str(uuid.uuid4())))
    return samples


def expire_answers(rows: int) -> None:
    copies(rows, answered_key(LARGE), EXPIRED)


def forget_tombstones(rows: int) -> None:
    copies(rows, ask("large", f"SELECT key FROM {TABLE} WHERE state = 'tombstone' LIMIT 1"), FORGOTTEN)


def copies(rows: int, key: str, overrides: dict[str, str]) -> None:
    for done in range(0, rows, LOT):
        copy_record("large", min(LOT, rows - done), key, overrides=overrides)
    settle("large")
