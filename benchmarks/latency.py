"""New and replayed requests of every variant, taken in turns so that drift hits all alike."""

import gc
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from django.contrib.auth.models import User

from benchmarks.client import Answer
from benchmarks.databases import slower_flush
from benchmarks.models import Payment
from benchmarks.statements import Sent, counting
from benchmarks.variants import COMPARED, Variant
from benchmarks.views import USER_ID

WARM_UP = 100
FLUSH = 1000
"""Microseconds that a disk far away may take to flush the log."""


class Misbehaviour(Exception):
    """A variant answered something else than a benchmark may be made of."""


@dataclass(slots=True)
class Samples:
    new: list[float] = field(default_factory=list)
    replay: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    median: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    variant: Variant
    new: Timing
    replay: Timing | None
    own_new: Sent
    own_replay: Sent | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    rounds: int
    rows: list[Row]
    absent: list[tuple[Variant, str]]
    slower: "Comparison | None" = None
    """The same with a disk that flushes more slowly."""

    def median_of(self, variant: Variant) -> float:
        """The median of a new request to that variant."""
        return next(row.new.median for row in self.rows if row.variant == variant)


def compare(rounds: int, reachable: Callable[[Variant], str]) -> Comparison:
    """Every variant that is installed and whose services answer; the others with the reason why not."""
    reasons = [(variant, reachable(variant)) for variant in COMPARED]
    variants = [variant for variant, reason in reasons if not reason]
    absent = [pair for pair in reasons if pair[1]]
    known_user()
    quick = measured_rows(variants, rounds)
    with slower_flush("default", FLUSH):
        slow = measured_rows(variants, rounds // 2)
    slower = Comparison(rounds=rounds // 2, rows=slow, absent=[])
    return Comparison(rounds=rounds, rows=quick, absent=absent, slower=slower)


def measured_rows(variants: Sequence[Variant], rounds: int) -> list[Row]:
    samples = measure(variants, rounds)
    bare = Sent(statements=1)
    return [row(variant, samples[variant.slug], bare) for variant in variants]


def known_user() -> None:
    """The row that drf-idempotencykey's foreign key needs; nobody reads it."""
    User.objects.create(pk=USER_ID, username="payer")


def measure(variants: Sequence[Variant], rounds: int) -> dict[str, Samples]:
    take_turns(variants, WARM_UP)
    gc.collect()
    gc.freeze()
    before = Payment.objects.count()
    samples = take_turns(variants, rounds)
    if Payment.objects.count() - before != rounds * len(variants):
        raise Misbehaviour("the number of payments is not the number of keys")
    return samples


def take_turns(variants: Sequence[Variant], rounds: int) -> dict[str, Samples]:
    samples: dict[str, Samples] = defaultdict(Samples)
    # The order changes every round: nobody always pays for what his neighbour left behind.
    order = random.Random(1)
    for _ in range(rounds):
        turns = [(variant, str(uuid.uuid4())) for variant in variants]
        order.shuffle(turns)
        first = {v.slug: timed(v, key, samples[v.slug].new) for v, key in turns}
        order.shuffle(turns)
        for variant, key in turns:
            if variant.remembers:
                variant.client.post(key)
            if variant.replays:
                again = timed(variant, key, samples[variant.slug].replay)
                must_agree(variant, first[variant.slug], again)
    return samples


def timed(variant: Variant, key: str, into: list[float]) -> Answer:
    answer = variant.client.post(key)
    into.append(answer.milliseconds)
    return answer


def must_agree(variant: Variant, first: Answer, again: Answer) -> None:
    if first.status != 201 or (first.status, first.body) != (again.status, again.body):
        raise Misbehaviour(f"{variant.label}: {first} was repeated as {again}")


def row(variant: Variant, samples: Samples, bare: Sent) -> Row:
    own_new, own_replay = own_statements(variant, bare)
    return Row(
        variant=variant,
        new=timing(samples.new),
        replay=timing(samples.replay) if variant.replays else None,
        own_new=own_new,
        own_replay=own_replay if variant.replays else None,
    )


def timing(samples: Sequence[float]) -> Timing:
    cuts = quantiles(samples, n=100, method="inclusive")
    return Timing(median=median(samples), p90=cuts[89], p99=cuts[98])


def own_statements(variant: Variant, bare: Sent) -> tuple[Sent, Sent]:
    """What a new request and a replay send beside the view's own INSERT."""
    key = str(uuid.uuid4())
    with counting() as new:
        variant.client.post(key)
    if variant.remembers:
        variant.client.post(key)
    with counting() as replay:
        variant.client.post(key)
    return new - bare, replay
