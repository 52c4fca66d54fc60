"""Curves over severities: marks, intervals and lines to compare with are where they belong."""

from __future__ import annotations

import re

import pytest

from foveal.explanation.charts import SeverityCurve
from foveal.explanation.page import TEMPLATES

CURVE = SeverityCurve(
    "blur",
    [("as it is", [(1, 90.0, 80.0, 100.0), (5, 20.0, 10.0, 30.0)]), ("behind the shield", [(1, 85.0, 80.0, 90.0)])],
    [("the picture as it is", 95.0)],
    (0.0, 100.0),
)


def drawn(curve: SeverityCurve) -> str:
    module = TEMPLATES.get_template("charts.svg.j2").module
    return str(module.severity_curve(curve, "return"))  # type: ignore[attr-defined]


def test_severities_stand_at_even_distances_and_values_grow_upwards() -> None:
    assert CURVE.across == [1, 5]
    assert CURVE.x(5) - CURVE.x(1) == pytest.approx(4 * (CURVE.x(2) - CURVE.x(1)), abs=0.5)
    assert CURVE.y(100.0) < CURVE.y(0.0) < CURVE.height
    assert CURVE.aside(0) == -CURVE.aside(1) != 0


def test_a_mark_an_interval_and_a_title_for_every_point() -> None:
    svg = drawn(CURVE)
    assert svg.count('class="whisker"') == 3
    assert "blur, severity 5, as it is: 20 [10, 30]" in svg
    assert "the picture as it is: 95" in svg and "line dashed" in svg
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert [float(x) for x, _ in circles] == [CURVE.x(1) + CURVE.aside(0), CURVE.x(5) + CURVE.aside(0)]
    assert [float(y) for _, y in circles] == [CURVE.y(90.0), CURVE.y(20.0)]
