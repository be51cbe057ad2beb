"""The results as Markdown: what the terminal shows and what docs/benchmarks.md holds."""

from collections.abc import Iterable, Sequence

from benchmarks.cycles import Cycles
from benchmarks.growth import Growth
from benchmarks.interrupted import Recovery
from benchmarks.latency import Comparison, Row, Timing
from benchmarks.operations import Durability
from benchmarks.upkeep import Turns, Upkeep
from benchmarks.variants import BARE, BARE_ATOMIC


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ruler, *rows])


def machine(facts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts)


def comparison(result: Comparison) -> str:
    new = table(
        ["new request", "median ms", "p90 ms", "of bare", "of bare atomic", "added ms", "own statements"],
        [new_cells(row, result) for row in result.rows],
    )
    replay = table(
        ["replay", "median ms", "p90 ms", "of bare", "of bare atomic", "own statements"],
        [replay_cells(row, result) for row in result.rows if row.replay],
    )
    absent = [f"Not measured: {variant.title} ({reason})." for variant, reason in result.absent]
    return "\n\n".join([new, replay, *absent])


def both_comparisons(result: Comparison) -> str:
    slower = [f"With a slower disk:\n\n{comparison(result.slower)}"] if result.slower else []
    return "\n\n".join([comparison(result), *slower])


def new_cells(row: Row, result: Comparison) -> list[str]:
    added = row.new.median - result.median_of(BARE)
    return [*common_cells(row, row.new, result), f"{added:.2f}", str(row.own_new)]


def replay_cells(row: Row, result: Comparison) -> list[str]:
    assert row.replay is not None
    return [*common_cells(row, row.replay, result), str(row.own_replay)]


def common_cells(row: Row, timing: Timing, result: Comparison) -> list[str]:
    return [
        row.variant.label,
        f"{timing.median:.2f}",
        f"{timing.p90:.2f}",
        f"{timing.median / result.median_of(BARE):.2f}",
        f"{timing.median / result.median_of(BARE_ATOMIC):.2f}",
    ]


def growth(result: Growth) -> str:
    small, large = result.small, result.large
    rows = [
        ["new request", small.new, large.new],
        ["replay", small.replay, large.replay],
    ]
    return table(
        [
            "median ms (p90)",
            f"{small.records:,} records, {small.size}",
            f"{large.records:,} records, {large.size}",
            "ratio",
        ],
        [[name, in_short(few), in_short(many), f"{many.median / few.median:.2f}"] for name, few, many in rows],
    )


def in_short(timing: Timing) -> str:
    return f"{timing.median:.2f} ({timing.p90:.2f})"


def upkeep(result: Upkeep) -> str:
    rates = table(
        [
            "purge",
            "rows",
            "rows per second, alone",
            "beside requests",
            "request p99 ms, alone",
            "beside a purge",
            "ratio",
        ],
        [
            *(
                [purge.step, f"{purge.rows:,}", f"{purge.alone:,.0f}", f"{purge.held:,.0f}", *turns(purge.requests)]
                for purge in result.purges
            ),
            ["only computing, in the same rhythm", "-", "-", "-", *turns(result.control)],
        ],
    )
    return f"{rates}\n\n{cycles(result.cycles)}"


def turns(found: Turns) -> list[str]:
    return [f"{found.quiet.p99:.2f}", f"{found.beside.p99:.2f}", f"{found.ratio:.2f}"]


def cycles(result: Cycles) -> str:
    rows = [
        [f"cycle {number}", in_mib(most), f"{most / result.live:.2f}"] for number, most in enumerate(result.largest, 1)
    ]
    return table(["table and indexes", "MiB", "of the live data"], [["live data", in_mib(result.live), "1.00"], *rows])


def in_mib(size: int) -> str:
    return f"{size / 2**20:.1f}"


def operations(result: Durability) -> str:
    ours = result.lines[0].timing.median
    compared = table(
        ["three steps", "median ms", "p90 ms", "of ours", "own statements"],
        [
            [
                line.title,
                f"{line.timing.median:.2f}",
                f"{line.timing.p90:.2f}",
                f"{line.timing.median / ours:.2f}",
                str(line.own),
            ]
            for line in result.lines
        ],
    )
    absent = [f"Not measured: {title} ({reason})." for title, reason in result.absent]
    return "\n\n".join([compared, *absent])


def recovery(result: Recovery) -> str:
    return table(
        ["interrupted operations", "seconds", "operations per second", "peak memory", "growth of the peak"],
        [
            [
                f"{result.operations:,}",
                f"{result.seconds:.1f}",
                f"{result.rate:,.0f}",
                f"{result.memory:.0f} MiB",
                f"{result.growth:.1f} MiB",
            ]
        ],
    )
