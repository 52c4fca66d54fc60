"""What a report's pictures show and where; ``explanation/templates/bench_charts.svg.j2`` draws them.

On the page they take its colours; as files of their own (``write_plot``) they carry them along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from foveal.bench.comparison import LookReport
from foveal.bench.learning import TaskCurves
from foveal.evaluation.over_runs import SeedEstimate
from foveal.evaluation.results import write_text
from foveal.explanation.charts import Scale, ticks
from foveal.explanation.page import render

LETTER = 6.6  # mean width of a letter of 12 px text
COLOURS = 8
WIDE, GAP = 860, 24


@dataclass(frozen=True)
class Forest:
    """Interquartile mean and interval of each policy under one look, best first.

    Attributes:
        title: above it.
        rows: name and estimate.
        ours: a name that is drawn in another colour.
        least, most: ends of the axis.
        letters: of the longest name, to begin the axis of several charts alike.
    """

    title: str
    rows: Sequence[tuple[str, SeedEstimate]]
    ours: str | None = None
    least: float = 0.0
    most: float = 1.0
    letters: int = 0
    kind: ClassVar[str] = "forest"
    width: ClassVar[int] = 400

    @property
    def height(self) -> float:
        """In pixels."""
        return 26 + 22 * len(self.rows) + 24

    @cached_property
    def across(self) -> list[float]:
        """Ticks."""
        return ticks(self.least, self.most, 5)

    @cached_property
    def x(self) -> Scale:
        """Of scores."""
        left = 14 + LETTER * max(self.letters, *(len(name) for name, _ in self.rows))
        return Scale(self.across[0], self.across[-1], min(left, 210.0), self.width - 14)

    def y(self, row: int) -> float:
        """Of a row's middle."""
        return 26 + 22 * row + 11


@dataclass(frozen=True)
class ProfilePanel:
    """One policy's performance profile before those of all others.

    Attributes:
        title: the policy's name.
        thresholds: scores.
        line: share of runs above each.
        others: the same of the other policies.
        band: low and high of the line, or None.
    """

    title: str
    thresholds: Sequence[float]
    line: Sequence[float]
    others: Sequence[Sequence[float]]
    band: tuple[Sequence[float], Sequence[float]] | None
    kind: ClassVar[str] = "profile"
    width: ClassVar[int] = 260
    height: ClassVar[int] = 170

    @cached_property
    def across(self) -> list[float]:
        """Ticks of scores."""
        low, high = self.thresholds[0], self.thresholds[-1]
        return [tick for tick in ticks(low, high, 4) if low <= tick <= high]

    @cached_property
    def x(self) -> Scale:
        """Of scores."""
        return Scale(self.thresholds[0], self.thresholds[-1], 34, self.width - 10)

    @cached_property
    def y(self) -> Scale:
        """Of shares."""
        return Scale(0, 1, self.height - 26, 24)

    def points(self, shares: Sequence[float]) -> list[tuple[float, float]]:
        """A line, in pixels."""
        return [(self.x(tau), self.y(share)) for tau, share in zip(self.thresholds, shares, strict=True)]

    @property
    def ribbon(self) -> list[tuple[float, float]]:
        """Outline of the band, in pixels; empty without one."""
        return [] if self.band is None else [*self.points(self.band[0]), *reversed(self.points(self.band[1]))]


@dataclass(frozen=True)
class Matrix:
    """P(a run of the row's policy beats one of the column's), in shades.

    Attributes:
        title: above it.
        names: of rows and columns.
        cells: (row, column) -> estimate.
    """

    title: str
    names: Sequence[str]
    cells: dict[tuple[str, str], SeedEstimate] = field(default_factory=dict)
    kind: ClassVar[str] = "matrix"
    side: ClassVar[int] = 44
    high: ClassVar[int] = 30

    @property
    def left(self) -> float:
        """Where the squares begin, in pixels."""
        return 12 + LETTER * max(len(name) for name in self.names)

    @property
    def top(self) -> float:
        """The same from above: names of columns stand upright."""
        return 34 + LETTER * max(len(name) for name in self.names)

    @property
    def width(self) -> float:
        """In pixels."""
        return max(self.left + self.side * len(self.names) + 8, LETTER * len(self.title) + 4)

    @property
    def height(self) -> float:
        """In pixels."""
        return self.top + self.high * len(self.names) + 8


@dataclass(frozen=True)
class CurvePanel:
    """How the policies of one task learned.

    Attributes:
        task: with its lines' colours by ``names``.
        names: all policies that any panel shows, in the order of their colours.
    """

    task: TaskCurves
    names: Sequence[str]
    kind: ClassVar[str] = "curves"
    width: ClassVar[int] = 400
    height: ClassVar[int] = 240

    @property
    def title(self) -> str:
        """The task."""
        return self.task.task

    @cached_property
    def lines(self) -> list[tuple[str, int | None, list[tuple[int, float, float, float]]]]:
        """Name, colour (None beyond the last), and (step, mean, lowest, highest)."""
        shown = [(self.names.index(name), name) for name in self.task.curves]
        return [(name, n if n < COLOURS else None, self.task.levels(name)) for n, name in sorted(shown)]

    @cached_property
    def up(self) -> list[float]:
        """Ticks of returns."""
        ends = [end for *_, levels in self.lines for _, _, low, high in levels for end in (low, high)]
        return ticks(min(0.0, *ends), max(1.0, *ends), 4)

    @cached_property
    def across(self) -> list[float]:
        """Ticks of agent steps."""
        return [tick for tick in ticks(0, self._last, 3) if tick <= self._last]

    @cached_property
    def x(self) -> Scale:
        """Of agent steps."""
        return Scale(0, self._last, 46, self.width - 16)

    @cached_property
    def y(self) -> Scale:
        """Of returns."""
        return Scale(self.up[0], self.up[-1], self.height - 36, 26)

    @property
    def _last(self) -> int:
        return max(level[0] for *_, levels in self.lines for level in levels)

    def line(self, levels: Sequence[tuple[int, float, float, float]]) -> list[tuple[float, float]]:
        """Means, in pixels."""
        return [(self.x(step), self.y(mean)) for step, mean, *_ in levels]

    def ribbon(self, levels: Sequence[tuple[int, float, float, float]]) -> list[tuple[float, float]]:
        """Outline from the lowest to the highest seed, in pixels."""
        below = [(self.x(step), self.y(low)) for step, _, low, _ in levels]
        above = [(self.x(step), self.y(high)) for step, *_, high in levels]
        return [*below, *reversed(above)]


Drawing = Forest | ProfilePanel | Matrix | CurvePanel


def forests(looks: Sequence[LookReport], ours: str | None = None) -> list[Forest]:
    """A chart for every look, of every policy that has runs of all tasks; on the same axis."""
    letters = max(len(name) for look in looks for name in look.ranking)
    ends = [end for look in looks for a in look.aggregates.values() for end in (a.iqm.interval or (a.iqm.value,))]
    rows = [[(name, look.aggregates[name].iqm) for name in look.ranking] for look in looks]
    return [
        Forest(str(look.look), ranked, ours, min(0.0, *ends), max(1.0, *ends), letters)
        for look, ranked in zip(looks, rows, strict=True)
    ]


def profiles(look: LookReport) -> list[ProfilePanel]:
    """A panel for every policy, best first."""
    panels = []
    for name in look.ranking:
        profile = look.profiles[name]
        low, high = profile.low, profile.high
        band = None if low is None or high is None else (low.tolist(), high.tolist())
        others = [look.profiles[other].shares.tolist() for other in look.ranking if other != name]
        panels.append(ProfilePanel(name, profile.thresholds.tolist(), profile.shares.tolist(), others, band))
    return panels


def matrix(look: LookReport) -> Matrix:
    """Of all policies, those with runs of every task first."""
    names = [*look.ranking, *(name for name in look.policies if name not in look.aggregates and look.scaled[name])]
    return Matrix(f"{look.look}: the row's policy beats the column's", names, dict(look.improvement))


def curve_panels(tasks: Sequence[TaskCurves]) -> list[CurvePanel]:
    """A panel for every task, with one colour for each policy."""
    names = sorted({name for task in tasks for name in task.curves})
    return [CurvePanel(task, names) for task in tasks]


def write_plot(path: Path, title: str, drawings: Sequence[Drawing], legend: Sequence[str] = ()) -> Path:
    """Write drawings side by side into one SVG, in as many rows as a text's width asks for.

    Args:
        path: of the file.
        title: for those who can't see it.
        drawings: of one kind.
        legend: names of the colours.

    Raises:
        FovealError: the file can't be written.
    """
    widest, highest = (max(sizes) for sizes in zip(*((d.width, d.height) for d in drawings), strict=True))
    columns = max(1, min(len(drawings), int((WIDE + GAP) // (widest + GAP))))
    names, top = _placed(legend)
    placed = [
        ((i % columns) * (widest + GAP), top + (i // columns) * (highest + GAP), drawing)
        for i, drawing in enumerate(drawings)
    ]
    rows = -(-len(drawings) // columns)
    size = (columns * (widest + GAP) - GAP, top + rows * (highest + GAP) - GAP)
    return write_text(path, render("bench_plot.svg.j2", title=title, placed=placed, size=size, names=names))


def _placed(legend: Sequence[str]) -> tuple[list[tuple[float, float, str]], float]:
    """Where each name of a legend goes, and where what is below it begins."""
    x, y = 0.0, 6.0
    placed: list[tuple[float, float, str]] = []
    for name in legend:
        needed = 36 + LETTER * len(name)
        if placed and x + needed > WIDE:
            x, y = 0.0, y + 20
        placed.append((x, y, name))
        x += needed
    return placed, y + 22 if legend else 0.0
