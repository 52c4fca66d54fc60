"""What charts show and where: a learning curve, intervals side by side, a small line over the steps of an episode.

``templates/charts.svg.j2`` draws them. A chart that fills the page is drawn twice, for wide and narrow screens, because
text in a picture that is only shrunk can't be read on a phone; the page shows one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from foveal.report.page import number
from foveal.statistics import Summary

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
    """Where things are.

    Attributes:
        width, height: in pixels.
        x, y: values to pixels.
    """

    width: int
    height: float
    x: Scale
    y: Scale

    @property
    def wide(self) -> bool:
        """Whether it is for a wide screen."""
        return self.width > NARROW


@dataclass(frozen=True)
class LearningCurve(Chart):
    """Return over agent steps.

    Attributes:
        across, up: ticks of the axes.
        episodes: (agent steps, return) of training episodes, drawn as faint dots.
        evaluations: (agent steps, summary), drawn as a line with intervals.
        baseline: name and return of a policy to compare with, drawn as a dashed line.
    """

    across: Sequence[float]
    up: Sequence[float]
    episodes: Sequence[tuple[int, float]]
    evaluations: Sequence[tuple[int, Summary]]
    baseline: tuple[str, float] | None

    @property
    def means(self) -> list[tuple[float, float]]:
        """The line's points, in pixels."""
        return [(self.x(step), self.y(told["mean"])) for step, told in self.evaluations]


@dataclass(frozen=True)
class Intervals(Chart):
    """Mean and interval of several policies under each condition, one row per condition.

    Attributes:
        across: ticks.
        unit: what the axis shows.
        conditions: names of the rows.
        series: name and one summary per condition (None: not measured) of at most three policies.
    """

    across: Sequence[float]
    unit: str
    conditions: Sequence[str]
    series: Sequence[tuple[str, Sequence[Summary | None]]]

    def level(self, row: int, position: int) -> float:
        """Height of the mark of one policy, in pixels."""
        middle = (self.y(row) + self.y(row + 1)) / 2
        spread = 11
        shift = (0 if self.wide else 8) - spread * (len(self.series) - 1) / 2
        return round(middle + shift + spread * position, 1)


@dataclass(frozen=True)
class Sparkline(Chart):
    """A line over the steps of an episode.

    Attributes:
        name: what is shown, with its unit.
        low, high: smallest and largest value.
        points: of the line, in pixels.
    """

    name: str
    low: float
    high: float
    points: Sequence[tuple[float, float]]


def learning_curve(
    episodes: Sequence[tuple[int, float]],
    evaluations: Sequence[tuple[int, Summary]],
    baseline: tuple[str, float] | None,
    width: int,
) -> LearningCurve:
    """The chart of that width; the other arguments are its attributes."""
    wide = width > NARROW
    height = 340 if wide else 270
    steps = [step for step, _ in (*episodes, *evaluations)] or [1]
    returns = [value for _, value in episodes] + [told[key] for _, told in evaluations for key in ("low", "high")]
    across = [tick for tick in ticks(0, max(steps), 6 if wide else 3) if tick <= max(steps)]
    up = ticks(min(0, *returns, 0), max(*returns, 1, 1))
    left = 14 + _LETTER * max(len(number(tick)) for tick in up)
    x = Scale(0, max(steps), left, width - 14)
    y = Scale(up[0], up[-1], height - 44, 22)
    return LearningCurve(width, height, x, y, across, up, episodes, evaluations, baseline)


def intervals(
    conditions: Sequence[str], series: Sequence[tuple[str, Sequence[Summary | None]]], unit: str, width: int
) -> Intervals:
    """The chart of that width; the other arguments are its attributes."""
    wide = width > NARROW
    left = 8 + _LETTER * max(len(name) for name in conditions) if wide else 4.0
    row, top = (44, 8) if wide else (66, 4)
    height = top + row * len(conditions) + 40
    values = [told[key] for _, summaries in series for told in summaries if told for key in ("low", "high")]
    across = ticks(min(0, *values, 0), max(*values, 1, 1), 6 if wide else 4)
    x = Scale(across[0], across[-1], left + 8, width - 16)
    y = Scale(0, len(conditions), top, top + row * len(conditions))
    return Intervals(width, height, x, y, across, unit, conditions, series)


def sparkline(name: str, steps: ArrayLike, values: ArrayLike, last: int) -> Sparkline:
    """A line over the steps of an episode.

    Args:
        name: what is shown, with its unit.
        steps: (n,) agent steps.
        values: (n,).
        last: length of the episode in agent steps.
    """
    width, height = SPARKLINE, 84
    told = np.asarray(values, dtype=np.float64)
    smallest, largest = float(told.min()), float(told.max())
    low, high = min(0.0, smallest), max(0.0, largest)
    x = Scale(0, max(last, 1), 4, SPARKLINE - 4)
    y = Scale(low, high if high > low else low + 1, height - 6, 22)
    points = [(x(float(step)), y(float(value))) for step, value in zip(np.asarray(steps), told, strict=True)]
    return Sparkline(width, height, x, y, name, smallest, largest, points)
