"""New and replayed requests on a small and on a large table of records, taken in turns."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.client import Client
from benchmarks.latency import WARM_UP, Misbehaviour, Timing, timing
from benchmarks.records import fill, size
from benchmarks.variants import COMMITTED, LARGE

SMALL_COUNT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    records: int
    size: str
    new: Timing
    replay: Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    rounds: int
    small: Table
    large: Table


def grow(rounds: int, records: int, say: Callable[[str], None]) -> Growth:
    """Fills both tables and compares them."""
    small_keys = fill("default", COMMITTED, SMALL_COUNT, say)
    large_keys = fill("large", LARGE, records, say)
    sizes = {"small": size("default"), "large": size("large")}
    say("new and replayed requests on both tables, in turns")
    samples = take_turns(rounds, small_keys, large_keys)
    return Growth(
        rounds=rounds,
        small=table(samples, "small", SMALL_COUNT, sizes["small"]),
        large=table(samples, "large", records, sizes["large"]),
    )


def take_turns(rounds: int, small_keys: list[str], large_keys: list[str]) -> dict[str, list[float]]:
    order = random.Random(1)
    samples: dict[str, list[float]] = {}
    for number in range(WARM_UP + rounds):
        turns = [
            ("small new", COMMITTED.client, str(uuid.uuid4())),
            ("large new", LARGE.client, str(uuid.uuid4())),
            ("small replay", COMMITTED.client, order.choice(small_keys)),
            ("large replay", LARGE.client, order.choice(large_keys)),
        ]
        order.shuffle(turns)
        for name, client, key in turns:
            elapsed = milliseconds(client, key)
            if number >= WARM_UP:
                samples.setdefault(name, []).append(elapsed)
    return samples


def milliseconds(client: Client, key: str) -> float:
    answer = client.post(key)
    if answer.status != 201:
        raise Misbehaviour(f"{answer.status} from {client.path}")
    return answer.milliseconds


def table(samples: dict[str, list[float]], name: str, records: int, size: str) -> Table:
    return Table(
        records=records,
        size=size,
        new=timing(samples[f"{name} new"]),
        replay=timing(samples[f"{name} replay"]),
    )
