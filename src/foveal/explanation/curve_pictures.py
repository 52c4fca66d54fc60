"""Curves over severities as one picture, for slides and papers; pages draw the same ones as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foveal.evaluation.layout import number
from foveal.explanation.charts import CurveChart
from foveal.explanation.pictures import Picture

SCALE = 2
"""Pixels of the picture for one of a chart."""
COLUMNS, GAP, MARGIN, LETTERS, LINE = 2, 28, 20, 12, 20
PAPER, INK, QUIET, RULE = "#fdfdfb", "#1c2024", "#5d666f", "#dcdfe2"
SERIES = ("#0a5fa8", "#b4530d", "#6a727a", "#2a7d46")
"""The page's colours on light paper."""
DASH, SPACE = 5, 4


def severity_picture(title: str, curves: Sequence[CurveChart], names: Sequence[str]) -> Picture:
    """All curves in two columns, below a title and a legend.

    Args:
        title: a line.
        curves: at least one, all with the same series.
        names: of the series, at most four.
    """
    wide, high = curves[0].width, curves[0].height
    top = MARGIN + LINE * (2 + len(names))
    rows = -(-len(curves) // COLUMNS)
    size = 2 * MARGIN + COLUMNS * wide + (COLUMNS - 1) * GAP, top + rows * (high + GAP)
    canvas = Image.new("RGB", (SCALE * size[0], SCALE * size[1]), PAPER)
    pen = _Pen(canvas)
    pen.text(MARGIN, MARGIN, title, INK, LETTERS + 3)
    for place, name in enumerate(names):
        y = MARGIN + LINE * (place + 1) + 14
        pen.mark(place, MARGIN + 6, y)
        pen.text(MARGIN + 18, y, name, INK, anchor="lm")
    for place, curve in enumerate(curves):
        row, column = divmod(place, COLUMNS)
        _draw(pen.moved(MARGIN + column * (wide + GAP), top + row * (high + GAP)), curve)
    return np.asarray(canvas)


class _Pen:
    """Draws in units of a chart, from some place on.

    Args:
        canvas: what is drawn on.
        left, top: of that place.
    """

    def __init__(self, canvas: Image.Image, left: float = 0.0, top: float = 0.0) -> None:
        self._canvas, self._draw, self._left, self._top = canvas, ImageDraw.Draw(canvas), left, top

    def moved(self, left: float, top: float) -> _Pen:
        """The same from another place on."""
        return _Pen(self._canvas, left, top)

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float = 1.0) -> None:
        """Through all points."""
        self._draw.line([self._at(*point) for point in points], color, round(width * SCALE), joint="curve")

    def dashed(self, start: float, end: float, y: float, color: str) -> None:
        """Level, of short strokes."""
        for x in np.arange(start, end, DASH + SPACE).tolist():
            self.line([(x, y), (min(x + DASH, end), y)], color)

    def text(self, x: float, y: float, words: str, color: str, size: int = LETTERS, anchor: str = "la") -> None:
        """One line; anchors are Pillow's."""
        font = ImageFont.load_default(size * SCALE)
        self._draw.text(self._at(x, y), words, color, font, anchor)

    def mark(self, position: int, x: float, y: float) -> None:
        """Circle, square, diamond, triangle, each in its colour, as on the page."""
        color, corners = SERIES[position], _corners(position, x, y)
        if position == 0:
            self._draw.ellipse([self._at(x - 4.4, y - 4.4), self._at(x + 4.4, y + 4.4)], color)
        else:
            self._draw.polygon([self._at(*corner) for corner in corners], color)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return SCALE * (self._left + x), SCALE * (self._top + y)


def _corners(position: int, x: float, y: float) -> list[tuple[float, float]]:
    if position == 1:
        return [(x - 3.8, y - 3.8), (x + 3.8, y - 3.8), (x + 3.8, y + 3.8), (x - 3.8, y + 3.8)]
    if position == 2:
        return [(x - 5.4, y), (x, y - 5.4), (x + 5.4, y), (x, y + 5.4)]
    return [(x - 5.0, y + 4.0), (x, y - 5.0), (x + 5.0, y + 4.0)]


def _draw(pen: _Pen, curve: CurveChart) -> None:
    x, y = curve.x, curve.y
    pen.text(0, 0, curve.name, INK)
    for tick in curve.up:
        pen.line([(x.start, y(tick)), (x.end, y(tick))], RULE)
        pen.text(x.start - 6, y(tick), number(tick), QUIET, anchor="rm")
    for severity in curve.across:
        pen.text(x(severity), curve.height - 12, str(severity), QUIET, anchor="mm")
    for _, value in curve.references:
        pen.dashed(x.start, x.end, y(value), QUIET)
    for place, (_, points) in enumerate(curve.series):
        means = curve.means(place)
        for (across, _), (_, _, low, high) in zip(means, points, strict=True):
            pen.line([(across, y(low)), (across, y(high))], SERIES[place], 1.5)
        if len(means) > 1:
            pen.line(means, SERIES[place], 2)
        for mean in means:
            pen.mark(place, *mean)
