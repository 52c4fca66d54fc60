"""The speed report as a picture: what a filling memory and more environments do to the rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.report.charts import Scale, number, ticks
from foveal.report.page import Html, element
from foveal.results import write_text

WIDTH, HEIGHT, GAP = 400, 260, 40
INK, PALE, LINE = "#57606a", "#d0d7de", "#0969da"  # readable on white and on black
FONT = "font: 12px system-ui, sans-serif"


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
    left = _panel("updates a second, by stored transitions", points, labels)
    right = _panel("environment steps a second, by processes", scaling, [f"{x:.0f}" for x, _ in scaling])
    total = 2 * WIDTH + GAP
    picture = element(
        "svg",
        left,
        element("g", right, transform=f"translate({WIDTH + GAP} 0)"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {total} {HEIGHT}",
        width=str(total),
        role="img",
    )
    return write_text(path, str(picture) + "\n")


def _panel(title: str, points: Sequence[tuple[float, float]], labels: Sequence[str]) -> Html:
    up = ticks(0, max(y for _, y in points), 4)
    places = [x for x, _ in points]
    wide = max(places) - min(places) or 1.0
    across = Scale(min(places), min(places) + wide, 60, WIDTH - 30)
    height = Scale(0, up[-1], HEIGHT - 36, 34)
    dots = [(across(x), height(y)) for x, y in points]
    return element(
        "g",
        _text(0, 14, title, "start"),
        [_rule(46, WIDTH, height(tick)) for tick in up],
        [_text(40, height(tick) + 4, number(tick), "end") for tick in up],
        [_text(x, HEIGHT - 14, label, "middle") for (x, _), label in zip(dots, labels, strict=True)],
        element("polyline", points=" ".join(f"{x},{y}" for x, y in dots), fill="none", stroke=LINE, stroke_width="2"),
        [element("circle", cx=str(x), cy=str(y), r="4", fill=LINE) for x, y in dots],
    )


def _rule(start: float, end: float, y: float) -> Html:
    return element("line", x1=str(start), x2=str(end), y1=str(y), y2=str(y), stroke=PALE)


def _text(x: float, y: float, words: str, anchor: str) -> Html:
    return element("text", words, x=str(x), y=str(y), text_anchor=anchor, fill=INK, style=FONT)
