"""The dashboard's charts: where each bar of an SVG stands, and the table that says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format, number_format, time_format
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..rollups.series import Slot, percentile

WIDTH, HEIGHT = 10, 100
"""Of a slot, in the units of the drawing, which is stretched to its place on the page."""
GAP = 1
LEAST = 2.0
"""So high is the bar of one in a thousand, too: it must be seen."""
REFUSALS = 5
"""The codes that are told apart in a chart."""
NOTHING = "-"
ROUND = (1, 2, 3, 4, 5, 6, 8, 10)

Column = tuple[str, Sequence[float | None]]
"""What is counted, and a number for each slot; None where there was nothing to measure."""


@dataclass(frozen=True, slots=True)
class Bar:
    kind: int
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The bars of one slot, and what is read when a pointer rests on them."""

    said: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    name: str
    """For ids and classes of the page."""
    title: str
    said: str
    """The gist, for who cannot see it."""
    legend: tuple[tuple[int, str, str], ...]
    """The kind of bar, what it counts, how many."""
    top: str
    times: tuple[str, ...]
    """Beginning, middle and end."""
    width: int
    groups: tuple[Group, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The table, the latest first, without the slots in which nothing was."""

    def drawing(self) -> SafeString:
        """The bars. Put together here: a template would take ten times as long for so many."""
        return format_html_join(
            "\n", "<g><title>{}</title>{}</g>", ((group.said, _rects(group)) for group in self.groups)
        )

    def body(self) -> SafeString:
        """The rows of the table, likewise."""
        cells = "<td>{}</td>" * len(self.columns)
        return format_html_join("\n", f'<tr><th scope="row">{{}}</th>{cells}</tr>', self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What a chart is drawn from."""

    name: str
    title: str
    columns: Sequence[Column]
    slots: Sequence[Slot]
    shown: Callable[[float | None], str]
    stacked: bool = True
    """Whether the bars of a slot stand on one another, or each on the ground."""

    def chart(self, said: str, totals: Sequence[str]) -> Chart:
        moments = [timezone.localtime(slot.begins_at) for slot in self.slots]
        times, table = [_time(moment, days=self._days()) for moment in moments], self._table()
        highest = self.highest()
        ends = [moments[place] for place in (0, len(moments) // 2, -1)]
        rows = [(time, *map(self.shown, numbers)) for time, numbers in zip(times, table, strict=True) if any(numbers)]
        names = tuple(name for name, _numbers in self.columns)
        return Chart(
            name=self.name,
            title=self.title,
            said=_("From %(first)s to %(last)s: %(said)s") % {"first": times[0], "last": times[-1], "said": said},
            legend=tuple((kind, *told) for kind, told in enumerate(zip(names, totals, strict=True))),
            top=self.shown(ceiling(highest)) if highest else "",
            times=tuple(_mark(moment, days=self._days()) for moment in ends),
            width=WIDTH * len(times),
            groups=tuple(self._groups(times, ceiling(highest))),
            columns=names,
            rows=tuple(reversed(rows)),
        )

    def _days(self) -> bool:
        """Whether a time without its day could be one of several."""
        return self.slots[-1].begins_at - self.slots[0].begins_at >= timedelta(days=1)

    def highest(self) -> float:
        return max(self._heights())

    def _table(self) -> list[tuple[float | None, ...]]:
        """By slot, what the columns have by column."""
        return list(zip(*(numbers for _name, numbers in self.columns), strict=True))

    def _heights(self) -> list[float]:
        height = sum if self.stacked else max
        return [height(number or 0 for number in numbers) for numbers in self._table()]

    def _groups(self, times: Sequence[str], top: float) -> Iterator[Group]:
        for place, numbers in enumerate(self._table()):
            if any(numbers):
                named = zip(self.columns, numbers, strict=True)
                told = [f"{name} {self.shown(number)}" for (name, _numbers), number in named if number]
                yield Group(said=", ".join([times[place], *told]), bars=tuple(self._bars(place, numbers, top)))

    def _bars(self, place: int, numbers: Sequence[float | None], top: float) -> Iterator[Bar]:
        foot = float(HEIGHT)
        for kind, number in enumerate(numbers):
            if number:
                height = round(min(foot, max(LEAST, number / top * HEIGHT)), 1)
                yield Bar(kind, place * WIDTH + GAP, round(foot - height, 1), height)
                foot -= height if self.stacked else 0


def charts(slots: Sequence[Slot]) -> list[Chart]:
    """All the charts of these slots."""
    plots = (
        ("requests", _("New requests"), [(_("requests"), [slot.new for slot in slots])]),
        ("replays", _("Replays"), [(_("replays"), [slot.replayed for slot in slots])]),
        ("refusals", _("Refusals"), _refusals(slots)),
        ("failures", _("Failures"), [(_("failures"), [slot.failed for slot in slots])]),
    )
    counted = (
        Plot(name=name, title=title, columns=columns, slots=slots, shown=amount) for name, title, columns in plots
    )
    return [*map(_counted, counted), _latency(slots)]


def amount(number: float | None) -> str:
    """A count, grouped as the language has it."""
    whole = int(number or 0)
    # A page has hundreds of them, most of them small, which are written alike in every language.
    return str(whole) if whole < 1000 else number_format(whole, force_grouping=True)


def duration(milliseconds: float | None) -> str:
    """A time that somebody had to wait."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 1000:
        return _("%s ms") % number_format(milliseconds, 0 if milliseconds >= 10 else 1)
    return _("%s s") % number_format(milliseconds / 1000, 1)


def ceiling(number: float) -> float:
    """The next round number: a digit, and noughts."""
    step = 1.0
    while step * 10 < number:
        step *= 10
    return next(step * factor for factor in ROUND if step * factor >= number)


def _rects(group: Group) -> SafeString:
    rect = f'<rect class="idem-kind-{{}}" x="{{}}" y="{{}}" width="{WIDTH - 2 * GAP}" height="{{}}"/>'
    return format_html_join("", rect, ((bar.kind, bar.x, bar.y, bar.height) for bar in group.bars))


def _refusals(slots: Sequence[Slot]) -> list[Column]:
    """A column for each of the codes that are most frequent, and one for the rest."""
    sums: Counter[str] = Counter()
    for slot in slots:
        sums.update(slot.refused)
    codes = [code for code, _number in sums.most_common(REFUSALS)]
    columns: list[Column] = [(code, [slot.refused.get(code, 0) for slot in slots]) for code in codes]
    if len(sums) > len(codes):
        named = set(codes)
        others = [sum(number for code, number in slot.refused.items() if code not in named) for slot in slots]
        columns.append((_("others"), others))
    return columns or [(_("refusals"), [0] * len(slots))]


def _counted(plot: Plot) -> Chart:
    sums = [sum(number or 0 for number in numbers) for _name, numbers in plot.columns]
    said = _("%(number)s in all, %(most)s at most in one bar.")
    return plot.chart(said % {"number": amount(sum(sums)), "most": amount(plot.highest())}, [*map(amount, sums)])


def _latency(slots: Sequence[Slot]) -> Chart:
    """The slow ones behind the typical ones: a bar from the bottom each."""
    took: Counter[str] = Counter()
    for slot in slots:
        took.update(slot.took)
    shares = {_("95 % within"): 0.95, _("half within"): 0.5}
    columns = [(name, [percentile(slot.took, share) for slot in slots]) for name, share in shares.items()]
    overall = [duration(percentile(took, share)) for share in shares.values()]
    title = _("Time to answer a new request")
    plot = Plot(name="latency", title=title, columns=columns, slots=slots, shown=duration, stacked=False)
    return plot.chart(", ".join(f"{name} {time}" for name, time in zip(shares, overall, strict=True)), overall)


def _time(moment: datetime, *, days: bool) -> str:
    return f"{_mark(moment, days=True)}, {_mark(moment, days=False)}" if days else _mark(moment, days=False)


def _mark(moment: datetime, *, days: bool) -> str:
    """As short as it may be below a chart."""
    return date_format(moment, "MONTH_DAY_FORMAT") if days else time_format(moment, "TIME_FORMAT")
