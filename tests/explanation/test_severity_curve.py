"""Curves over severities: marks, intervals and lines to compare with are where they belong."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from foveal.explanation.charts import CurveChart
from foveal.explanation.page import TEMPLATES

CURVE = CurveChart(
    "blur",
    [("as it is", [(1, 90.0, 80.0, 100.0), (5, 20.0, 10.0, 30.0)]), ("behind the shield", [(1, 85.0, 80.0, 90.0)])],
    [("the picture as it is", 95.0)],
    (0.0, 100.0),
)


def drawn(curve: CurveChart) -> str:
    module = TEMPLATES.get_template("charts.svg.j2").module
    return str(module.curves(curve, "return"))  # type: ignore[attr-defined]


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


def test_a_curve_with_a_film_leads_to_it_and_one_without_does_not() -> None:
    svg = drawn(replace(CURVE, film=(5, 2)))
    assert svg.count("<a ") == 1 and 'data-condition="2" aria-label="show blur, severity 5, in the player"' in svg
    link = svg[svg.index("<a ") : svg.index("</a>")]
    assert link.count('class="whisker"') == 3 and 'class="film"' in link  # a click on a mark leads there too
    assert 'role="group"' in svg and "<a " not in drawn(CURVE) and 'role="img"' in drawn(CURVE)
