"""What charts show and where: a learning curve, intervals side by side, a small line over the steps of an episode.

``templates/charts.svg.j2`` draws them. A chart that fills the page is drawn twice, for wide and narrow screens, because
text in a picture that is only shrunk can't be read on a phone; the page shows one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from foveal.evaluation.layout import number
from foveal.evaluation.statistics import Summary

WIDE, NARROW, SPARKLINE = 860, 380, 400
_LETTER = 6.6  # mean width of a letter of 12 px text, to leave room for names


@dataclass(frozen=True)
class Scale:
    """Maps values to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover ``low`` to ``high``, both ends included."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = min((size * power for size in (1, 2, 5, 10)), key=lambda size: abs(math.log(size / rough)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


@dataclass(frozen=True)
class Chart:
    """A drawing of some width, in pixels."""

    width: int

    @property
    def wide(self) -> bool:
        """Whether it is for a wide screen."""
        return self.width > NARROW


@dataclass(frozen=True)
class LearningCurve(Chart):
    """Return over agent steps.

    Attributes:
        episodes: (agent steps, return) of training episodes, drawn as faint dots.
        evaluations: (agent steps, summary), drawn as a line with intervals.
        baseline: name and return of a policy to compare with, drawn as a dashed line.
    """

    episodes: Sequence[tuple[int, float]]
    evaluations: Sequence[tuple[int, Summary]]
    baseline: tuple[str, float] | None

    @cached_property
    def height(self) -> float:
        """In pixels."""
        return 340 if self.wide else 270

    @cached_property
    def across(self) -> list[float]:
        """Ticks of agent steps."""
        return [tick for tick in ticks(0, self._last, 6 if self.wide else 3) if tick <= self._last]

    @cached_property
    def up(self) -> list[float]:
        """Ticks of returns."""
        returns = [value for _, value in self.episodes]
        returns += [told[key] for _, told in self.evaluations for key in ("low", "high")]
        return ticks(min(0, *returns, 0), max(*returns, 1, 1))

    @cached_property
    def x(self) -> Scale:
        """Of agent steps."""
        return Scale(0, self._last, _beside(self.up), self.width - 14)

    @cached_property
    def y(self) -> Scale:
        """Of returns."""
        return Scale(self.up[0], self.up[-1], self.height - 44, 22)

    @property
    def means(self) -> list[tuple[float, float]]:
        """The line's points, in pixels."""
        return [(self.x(step), self.y(told["mean"])) for step, told in self.evaluations]

    @cached_property
    def _last(self) -> int:
        return max([step for step, _ in (*self.episodes, *self.evaluations)], default=1)


@dataclass(frozen=True)
class Intervals(Chart):
    """Mean and interval of several policies under each condition, one row per condition.

    Attributes:
        conditions: names of the rows.
        series: name and one summary per condition (None: not measured) of at most four policies.
        unit: what the axis shows.
    """

    conditions: Sequence[str]
    series: Sequence[tuple[str, Sequence[Summary | None]]]
    unit: str

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y.end + 40

    @cached_property
    def across(self) -> list[float]:
        """Ticks."""
        values = [told[key] for _, summaries in self.series for told in summaries if told for key in ("low", "high")]
        return ticks(min(0, *values, 0), max(*values, 1, 1), 6 if self.wide else 4)

    @cached_property
    def x(self) -> Scale:
        """Of means."""
        left = 8 + _LETTER * max(len(name) for name in self.conditions) if self.wide else 4.0
        return Scale(self.across[0], self.across[-1], left + 8, self.width - 16)

    @cached_property
    def y(self) -> Scale:
        """Of rows."""
        row, top = (44, 8) if self.wide else (66, 4)
        return Scale(0, len(self.conditions), top, top + row * len(self.conditions))

    def level(self, row: int, position: int) -> float:
        """Height of the mark of one policy, in pixels."""
        spread = 11
        shift = (0 if self.wide else 8) - spread * (len(self.series) - 1) / 2
        return round((self.y(row) + self.y(row + 1)) / 2 + shift + spread * position, 1)


@dataclass(frozen=True)
class Sparkline:
    """A line over the steps of an episode, with a cursor that the player moves.

    Attributes:
        name: what is shown, with its unit.
        steps: agent steps.
        values: as many.
        last: length of the episode in agent steps.
        limit: drawn as a dashed line, or None.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    last: int
    limit: float | None = None
    width = SPARKLINE
    height = 84

    @cached_property
    def x(self) -> Scale:
        """Of agent steps."""
        return Scale(0, max(self.last, 1), 4, self.width - 4)

    @cached_property
    def y(self) -> Scale:
        """Of values, 0 among them."""
        low, high = min(0.0, *self.values, 0.0), max(0.0, *self.values, self.limit or 0.0)
        return Scale(low, high if high > low else low + 1, self.height - 6, 22)

    @property
    def points(self) -> list[tuple[float, float]]:
        """In pixels."""
        return [(self.x(step), self.y(value)) for step, value in zip(self.steps, self.values, strict=True)]


@dataclass(frozen=True)
class CurveChart:
    """A number over severities of a change, or over shares of a picture; many such charts stand beside each other.

    Attributes:
        name: of the change, or of what is done to the picture.
        series: name and points, (severity or share, mean, low, high), of at most four.
        references: (name, value), drawn as dashed lines.
        values: low and high end of the axis.
        film: (severity, number) of the condition of which the page's player has films; None where it has none.
        shares: whether it is over shares, from 0 to 1, whose points have no intervals.
    """

    name: str
    series: Sequence[tuple[str, Sequence[tuple[float, float, float, float]]]]
    references: Sequence[tuple[str, float]]
    values: tuple[float, float]
    film: tuple[int, int] | None = None
    shares: bool = False
    width = SPARKLINE
    height = 168

    @cached_property
    def across(self) -> Sequence[float]:
        """Ticks of shares, or the severities that were tried."""
        if self.shares:
            return (0.0, 0.25, 0.5, 0.75, 1.0)
        return sorted({severity for _, points in self.series for severity, *_ in points})

    @cached_property
    def up(self) -> list[float]:
        """Ticks of the number."""
        return ticks(*self.values, 3)

    @cached_property
    def x(self) -> Scale:
        """Of severities or shares."""
        left = _beside(self.up)
        return Scale(0.0, 1.0, left, self.width - 12) if self.shares else Scale(0.5, 5.5, left, self.width - 4)

    @cached_property
    def y(self) -> Scale:
        """Of the number."""
        return Scale(self.up[0], self.up[-1], self.height - 24, 26)

    def aside(self, position: int) -> float:
        """How far a series stands beside its severity, in pixels, so that intervals can be told apart."""
        return 0.0 if self.shares else round(9.0 * (position - (len(self.series) - 1) / 2), 1)

    def means(self, position: int) -> list[tuple[float, float]]:
        """The points of a series, in pixels."""
        return [(self.x(at) + self.aside(position), self.y(mean)) for at, mean, *_ in self.series[position][1]]


def share_chart(name: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> CurveChart:
    """What is kept over the share of the picture that is taken away, or given back; points are (share, what is kept).

    0 and 1 are within the axis.
    """
    values = [kept for _, points in series for _, kept in points]
    told = [(line, [(share, kept, kept, kept) for share, kept in points]) for line, points in series]
    return CurveChart(name, told, (), (min(0.0, *values, 0.0), max(1.0, *values, 1.0)), shares=True)


def _beside(up: Sequence[float]) -> float:
    """Where a chart begins beside its ticks, in pixels."""
    return 14 + _LETTER * max(len(number(tick)) for tick in up)
