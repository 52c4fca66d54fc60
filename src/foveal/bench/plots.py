"""The speed report as a picture: rates by size of replay and by number of environments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.evaluation.results import write_text
from foveal.explanation.charts import Chart, Scale, ticks
from foveal.explanation.page import render

WIDTH, HEIGHT, GAP = 400, 260, 40


@dataclass(frozen=True)
class Panel(Chart):
    """One half of the picture.

    Attributes:
        left: where it begins, in pixels.
        y: rates to pixels.
        title: above it.
        up: ticks.
        points: of the line, in pixels.
        labels: below them.
    """

    left: int
    y: Scale
    title: str
    up: Sequence[float]
    points: Sequence[tuple[float, float]]
    labels: Sequence[str]


def growth_plot(record: Mapping[str, Any], path: str | Path) -> Path:
    """Write an SVG of updates a second by stored transitions and environment steps a second by processes.

    Args:
        record: ``SpeedReport.as_dict()``, measured with ``growth``.
        path: of the SVG.

    Raises:
        FovealError: growth was not measured, or the file can't be written.
    """
    if not record["growth"]:
        raise FovealError("there is nothing to plot: measure with --growth")
    points = [(math.log10(p["transitions"]), p["updates_per_second"]) for p in record["growth"]]
    labels = [f"{p['transitions'] / 1000:,.0f}k" for p in record["growth"]]
    scaling = [(float(count), rate) for count, rate in record["environment_scaling"].items()]
    panels = [
        _panel(0, "updates a second, by stored transitions", points, labels),
        _panel(WIDTH + GAP, "environment steps a second, by processes", scaling, [f"{x:.0f}" for x, _ in scaling]),
    ]
    return write_text(path, render("growth.svg.j2", panels=panels, width=2 * WIDTH + GAP, height=HEIGHT))


def _panel(left: int, title: str, points: Sequence[tuple[float, float]], labels: Sequence[str]) -> Panel:
    up = ticks(0, max(y for _, y in points), 4)
    places = [x for x, _ in points]
    wide = max(places) - min(places) or 1.0
    x = Scale(min(places), min(places) + wide, 60, WIDTH - 30)
    y = Scale(0, up[-1], HEIGHT - 36, 34)
    return Panel(WIDTH, left, y, title, up, [(x(place), y(value)) for place, value in points], labels)
