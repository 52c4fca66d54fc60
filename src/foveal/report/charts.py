"""Charts as inline SVG: a learning curve, intervals side by side, and a small line over the steps of an episode.

Colours come from the page's style (classes ``series-0`` to ``series-2``), so that a chart follows light and dark.
A chart that fills the page is drawn twice, for wide and narrow screens, because text in a picture that is only shrunk
can't be read on a phone; the page shows one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.report.page import Html, element
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


def number(value: float) -> str:
    """As an axis tells it: thousands separated, no needless decimals."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def responsive(draw: Callable[[int], Html]) -> Html:
    """A chart for wide screens and one for narrow ones."""
    return element("div", _sized(draw(WIDE), "wide"), _sized(draw(NARROW), "narrow"), class_="chart")


def learning_curve(
    episodes: Sequence[tuple[int, float]],
    evaluations: Sequence[tuple[int, Summary]],
    baseline: tuple[str, float] | None,
    width: int,
) -> Html:
    """Return over agent steps.

    Args:
        episodes: (agent steps, return) of training episodes, drawn as faint dots.
        evaluations: (agent steps, summary), drawn as a line with intervals.
        baseline: name and return of a policy to compare with, drawn as a dashed line.
        width: in pixels.
    """
    height = 340 if width > NARROW else 270
    steps = [step for step, _ in (*episodes, *evaluations)] or [1]
    returns = [value for _, value in episodes] + [told[key] for _, told in evaluations for key in ("low", "high")]
    across = [tick for tick in ticks(0, max(steps), 6 if width > NARROW else 3) if tick <= max(steps)]
    up = ticks(min(0, *returns, 0), max(*returns, 1, 1))
    left = 14 + _LETTER * max(len(number(tick)) for tick in up)
    x = Scale(0, max(steps), left, width - 14)
    y = Scale(up[0], up[-1], height - 44, 22)
    return _svg(
        width,
        height,
        "Learning curve: return against agent steps",
        _grid(x, y, across, up),
        _text(x.end, height - 6, "agent steps", "end"),
        _text(0, 11, "return"),
        element("g", [_dot(x(step), y(value), 1.8) for step, value in episodes], class_="series-0 faint"),
        _baseline(baseline, x, y),
        _evaluations(evaluations, x, y),
    )


def intervals(
    conditions: Sequence[str], series: Sequence[tuple[str, Sequence[Summary | None]]], unit: str, width: int
) -> Html:
    """Mean and interval of several policies under each condition, one row per condition.

    Args:
        conditions: names of the rows.
        series: name and one summary per condition (None: not measured) of at most three policies.
        unit: what the axis shows.
        width: in pixels.
    """
    wide = width > NARROW
    left = 8 + _LETTER * max(len(name) for name in conditions) if wide else 4.0
    row, top = (44, 8) if wide else (66, 4)
    height = top + row * len(conditions) + 40
    values = [told[key] for _, summaries in series for told in summaries if told for key in ("low", "high")]
    across = ticks(min(0, *values, 0), max(*values, 1, 1), 6 if wide else 4)
    x = Scale(across[0], across[-1], left + 8, width - 16)
    y = Scale(0, len(conditions), top, top + row * len(conditions))
    rows = [_interval_row(index, name, series, x, y, wide) for index, name in enumerate(conditions)]
    lines = [_line(x(tick), y.start, x(tick), y.end, "grid") for tick in across]
    labels = [_text(x(tick), y.end + 16, number(tick), "middle") for tick in across]
    return _svg(
        width, height, f"{unit} under each condition", lines, labels, _text(x.end, height - 4, unit, "end"), rows
    )


def legend(names: Sequence[str]) -> Html:
    """Names of the series with the marks that stand for them."""
    items = []
    for index, name in enumerate(names):
        picture = element("svg", _mark(index, 7, 7), viewBox="0 0 14 14", aria_hidden="true")
        items.append(element("li", element("span", picture, class_=f"series-{index}"), name))
    return element("ul", items, class_="legend")


def sparkline_cursor(step: int, length: int) -> float:
    """Where a sparkline's cursor stands at an agent step."""
    return _steps_scale(length)(step)


def sparkline(name: str, steps: ArrayLike, values: ArrayLike, last: int) -> Html:
    """A line over the steps of an episode, with a cursor that the player moves.

    Args:
        name: what is shown, with its unit.
        steps: (n,) agent steps.
        values: (n,).
        last: length of the episode in agent steps.
    """
    width, height = SPARKLINE, 84
    told = np.asarray(values, dtype=np.float64)
    low, high = min(0.0, float(told.min())), max(0.0, float(told.max()))
    high = high if high > low else low + 1
    x, y = _steps_scale(last), Scale(low, high, height - 6, 22)
    points: NDArray[np.int64] = np.asarray(steps)
    return _svg(
        width,
        height,
        f"{name} over the episode, from {number(float(told.min()))} to {number(float(told.max()))}",
        _line(4, y(0), width - 4, y(0), "grid"),
        _path([(x(float(step)), y(float(value))) for step, value in zip(points, told, strict=True)], "series-0 line"),
        element("line", class_="cursor", x1=x(0), x2=x(0), y1=18, y2=height - 4),
        _text(4, 11, name),
        _text(width - 4, 11, f"{float(told.min()):.2f} to {float(told.max()):.2f}", "end"),
        class_="sparkline",
    )


def _steps_scale(length: int) -> Scale:
    return Scale(0, max(length, 1), 4, SPARKLINE - 4)


def _evaluations(evaluations: Sequence[tuple[int, Summary]], x: Scale, y: Scale) -> Html:
    whiskers = [_line(x(step), y(told["low"]), x(step), y(told["high"]), "whisker") for step, told in evaluations]
    points = [(x(step), y(told["mean"])) for step, told in evaluations]
    dots = [
        element("g", element("title", f"{number(step)} steps: {told['mean']:.1f}"), _dot(*point, 3.6))
        for (step, told), point in zip(evaluations, points, strict=True)
    ]
    return element("g", whiskers, _path(points, "line"), dots, class_="series-0")


def _baseline(baseline: tuple[str, float] | None, x: Scale, y: Scale) -> Html | None:
    if baseline is None:
        return None
    name, value = baseline
    level = y(value)
    line = element("line", x1=x.start, x2=x.end, y1=level, y2=level, class_="line dashed")
    return element("g", line, _text(x.end, level - 5, f"{name} {number(value)}", "end"), class_="series-2")


def _interval_row(
    index: int, name: str, series: Sequence[tuple[str, Sequence[Summary | None]]], x: Scale, y: Scale, wide: bool
) -> Html:
    middle = (y(index) + y(index + 1)) / 2
    label = _text(x.start - 16, middle + 4, name, "end") if wide else _text(x.start, y(index) + 17, name)
    spread = 11
    shift = (0 if wide else 8) - spread * (len(series) - 1) / 2
    marks = [
        _interval(position, told, x, round(middle + shift + spread * position, 1), f"{name}, {policy}")
        for position, (policy, summaries) in enumerate(series)
        if (told := summaries[index]) is not None
    ]
    rule = _line(x.start, y(index + 1), x.end, y(index + 1), "grid")
    return element("g", rule, label, marks)


def _interval(position: int, told: Summary, x: Scale, level: float, name: str) -> Html:
    title = f"{name}: {told['mean']:.1f} [{told['low']:.1f}, {told['high']:.1f}]"
    whisker = _line(x(told["low"]), level, x(told["high"]), level, "whisker")
    return element(
        "g", element("title", title), whisker, _mark(position, x(told["mean"]), level), class_=f"series-{position}"
    )


def _mark(position: int, x: float, y: float) -> Html:
    """Circle, square, diamond: series differ in shape as well as in colour."""
    if position == 0:
        return _dot(x, y, 4.4)
    turn = "" if position == 1 else f"rotate(45 {x} {y})"
    return element("rect", x=x - 3.8, y=y - 3.8, width=7.6, height=7.6, transform=turn or None, class_="mark")


def _grid(x: Scale, y: Scale, across: Sequence[float], up: Sequence[float]) -> Html:
    lines = [_line(x.start, y(tick), x.end, y(tick), "axis" if tick == 0 else "grid") for tick in up]
    left = [_text(x.start - 8, y(tick) + 4, number(tick), "end") for tick in up]
    below = [_text(x(tick), y.start + 18, number(tick), "end" if tick == x.high else "middle") for tick in across]
    return element("g", lines, left, below)


def _svg(width: int, height: float, name: str, *children: object, class_: str | None = None) -> Html:
    return element(
        "svg",
        *children,  # type: ignore[arg-type]
        viewBox=f"0 0 {width} {height:g}",
        role="img",
        aria_label=name,
        class_=class_,
    )


def _sized(svg: Html, class_: str) -> Html:
    return element("div", svg, class_=class_)


def _path(points: Sequence[tuple[float, float]], class_: str) -> Html | None:
    if not points:
        return None
    return element("path", d="M" + "L".join(f"{x:g} {y:g}" for x, y in points), class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _dot(x: float, y: float, radius: float) -> Html:
    return element("circle", cx=x, cy=y, r=radius, class_="mark")


def _text(x: float, y: float, text: str, anchor: str = "start") -> Html:
    return element("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor if anchor != "start" else None)
