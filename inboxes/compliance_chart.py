"""A chart of what happened by day and actor, as the numbers that an SVG is drawn from. Pure; it needs neither script nor style."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from audit.sentences import as_text, called
from audit.timeline import Actor, Figures

WIDTH, HEIGHT = 960, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 12, 30
MOST_SERIES = 5  # actors with a colour of their own
OTHERS = "others"


class Bar(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    series: int
    title: str


class Tick(NamedTuple):
    at: float
    label: str


class Series(NamedTuple):
    number: int
    label: str
    total: int


class Line(NamedTuple):
    """A day in the table that says the same."""

    day: date
    numbers: list[int]
    total: int


@dataclass(slots=True)
class Chart:
    series: list[Series]
    lines: list[Line]
    bars: list[Bar] = field(default_factory=list)
    days: list[Tick] = field(default_factory=list)
    levels: list[Tick] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM

    @property
    def summary(self) -> str:
        """For who does not see it."""
        busy = max(self.lines, key=lambda line: line.total, default=None)
        if busy is None or not busy.total:
            return "Nothing happened on these days."
        most = f"the most on {busy.day:%Y-%m-%d}: {busy.total:,}"
        return f"{sum(line.total for line in self.lines):,} entries on {len(self.lines)} days, {most}."


def chart_of(figures: Figures, first: date, last: date) -> Chart:
    """Of each day from `first` to `last`, also those on which nothing happened."""
    names = [actor for actor, _ in figures.by_actor()[:MOST_SERIES]]
    by_day = figures.by_day()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    lines = [_line(day, by_day.get(day, Counter()), names, len(figures.by_actor()) > MOST_SERIES) for day in days]
    labels = [as_text(called(*name)) for name in names] + ([OTHERS] if len(figures.by_actor()) > MOST_SERIES else [])
    totals = [sum(line.numbers[number] for line in lines) for number in range(len(labels))]
    series = [Series(number, label, totals[number]) for number, label in enumerate(labels)]
    chart = Chart(series, lines)
    if any(line.total for line in lines):
        _draw(chart)
    return chart


def _line(day: date, counted: Counter[Actor], names: list[Actor], has_others: bool) -> Line:
    numbers, total = [counted[name] for name in names], counted.total()
    return Line(day, [*numbers, total - sum(numbers)] if has_others else numbers, total)


def _draw(chart: Chart) -> None:
    top = _round_up(max(line.total for line in chart.lines))
    chart.levels = [Tick(_y(level, top), f"{level:,}") for level in dict.fromkeys((0, top // 2, top))]
    step = (chart.right - LEFT) / len(chart.lines)
    for number, line in enumerate(chart.lines):
        chart.bars += _bars(chart, line, LEFT + number * step, step, top)
    every = -(-len(chart.lines) // 10)
    chart.days = [
        Tick(round(LEFT + (number + 0.5) * step, 1), f"{line.day:%d %b}")
        for number, line in enumerate(chart.lines)
        if number % every == 0
    ]


def _bars(chart: Chart, line: Line, x: float, step: float, top: int) -> Iterator[Bar]:
    gap, below = min(4.0, step * 0.2), 0
    for series, number in zip(chart.series, line.numbers, strict=True):
        if number:
            y, under = _y(below + number, top), _y(below, top)
            title = f"{line.day:%Y-%m-%d}, {series.label}: {number:,}"
            yield Bar(round(x + gap / 2, 1), y, round(step - gap, 1), round(under - y, 1), series.number, title)
        below += number


def _y(value: int, top: int) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top, 1)


def _round_up(number: int) -> int:
    """To what people read easily, and its half too."""
    size = 10 ** max(0, len(str(number)) - 1)
    return next((step * size for step in (1, 2, 4, 6, 8, 10) if step * size >= number), number)
