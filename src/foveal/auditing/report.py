"""The page of an audit: the answer first, then the numbers, then what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from foveal.auditing.blindness import REPLACEMENTS
from foveal.auditing.judging import BLIND, LOOKS, UNCLEAR, percent_left
from foveal.auditing.report_comparison import comparison, policy_names
from foveal.auditing.report_films import filmed, player
from foveal.auditing.report_maps import section
from foveal.auditing.report_parts import Shown, interval_cell, measured
from foveal.auditing.results import DRIFT, SUCCESS, Audit, Curve, Point
from foveal.explanation.charts import CurveChart
from foveal.explanation.page import Cell, Line, Table, write_page

ROUGH = 10
"""Episodes below which a bootstrap is called rough."""
SURE_BY_CHANCE = 0.025
"""How likely a 95 % interval lies above what is true."""
ANSWERS = {LOOKS: "yes", BLIND: "no", UNCLEAR: "unclear"}


def report(audit: Audit, out: str | Path) -> Path:
    """Write the page of an audit.

    Args:
        audit: what was found.
        out: the page, one file that needs no other.

    Returns:
        The absolute path.

    Raises:
        FovealError: the page can't be written.
    """
    curves = audit.curves()
    steady = [curve.points[0] for curve in curves if curve.points[0].condition.severity is None]
    return write_page(
        out,
        "audit.html.j2",
        title=f"Audit in {audit.place}",
        kind=audit.policy["kind"],
        place=audit.place,
        summary=audit.summary,
        figures=_figures(audit),
        drifts=audit.measure == DRIFT,
        unit=audit.unit,
        blind=_blind_table(audit),
        blind_shown=[_shown(audit, point) for point in _bare(audit.blind) if point.pictures],
        steady=[f"{point.condition.change} ({percent_left(point)} left)" for point in steady],
        series=series(audit),
        measure=audit.measure,
        curves=charts(audit),
        shielded=audit.shield is not None,
        shown=_gallery(audit, curves),
        compared=comparison(audit) if audit.against is not None else None,
        player=player(audit, policy_names(audit)),
        maps=section(audit) if audit.maps else None,
        table=_table(audit, curves),
        unknowns=_unknowns(audit, curves),
        config={"policy": audit.policy, "seed": audit.seed, "shield": audit.shield, **audit.settings},
    )


def _figures(audit: Audit) -> list[tuple[str, str]]:
    curves = audit.curves()
    broken = sum(curve.broke is not None for curve in curves)
    said = "changes that move its actions by half or more" if audit.measure == DRIFT else "changes that break it"
    figures = [("does it look at its camera?", ANSWERS[audit.verdict]), (said, f"{broken} of {len(curves)}")]
    if audit.measure != DRIFT:
        figures.append((f"{audit.measure} with the picture as it is", measured(audit, audit.clean[0].mean)))
        assert audit.chance is not None
        figures.append((f"{audit.measure} of random actions", measured(audit, audit.chance.mean)))
    else:
        figures.append(("pieces of consecutive frames", str(len(audit.clean[0].values))))
    return figures


def charts(audit: Audit) -> list[CurveChart]:
    """Of every change that has severities, the weakest point first."""
    return [_chart(audit, curve) for curve in audit.curves() if curve.points[0].condition.severity is not None]


def series(audit: Audit) -> list[str]:
    """Names of the lines in every chart."""
    names = [""] if audit.against is None else policy_names(audit)
    shields = [""] if audit.shield is None else ["", "behind the shield"]
    return [", ".join(filter(None, (name, shield))) or "as it is" for name in names for shield in shields]


def _chart(audit: Audit, curve: Curve) -> CurveChart:
    lines = [(one, shielded) for one in audit.policies for shielded in audit.shields]
    drawn = []
    for name, (one, shielded) in zip(series(audit), lines, strict=True):
        points = one.curve(curve.change, shielded).points
        drawn.append((name, [(p.condition.severity or 0, p.mean, p.low, p.high) for p in points]))
    references = [("the picture as it is", audit.clean[0].mean)]
    if audit.against is not None:
        references.append((f"the picture as it is, {audit.against.policy['kind']}", audit.against.clean[0].mean))
    if audit.chance is not None:
        references.append(("random actions", audit.chance.mean))
    film = filmed(audit).get(curve.change)
    return CurveChart(curve.change.replace("_", " "), drawn, references, _range(audit), film)


def _range(audit: Audit) -> tuple[float, float]:
    """Of the axis of all charts."""
    points = [point for one in audit.policies for point in (*one.points, *one.clean)]
    points += [] if audit.chance is None else [audit.chance]
    return min(0.0, *(point.low for point in points)), max(point.high for point in points)


def _gallery(audit: Audit, curves: Sequence[Curve]) -> list[Shown]:
    first = [_shown(audit, audit.clean[0])] if audit.clean[0].pictures else []
    points = [curve.broke or curve.points[-1] for curve in curves]
    return first + [_shown(audit, point) for point in points if point.pictures]


def _shown(audit: Audit, point: Point) -> Shown:
    """With what the shield made of the same picture, where there is one."""
    condition = point.condition
    severity = "" if condition.severity is None else f"severity {condition.severity}: "
    seen = point.pictures if audit.shield is None else _behind(audit, point).pictures
    pictures = zip(seen, ("as it came", "behind the shield"), strict=False)
    name, told = condition.change.replace("_", " "), f"{severity}{percent_left(point)} left"
    return Shown.of(name, told, [(picture, f"{condition.words}, {what}") for picture, what in pictures])


def _behind(audit: Audit, point: Point) -> Point:
    """The same behind the shield."""
    return audit.at(replace(point.condition, shielded=True))


def _bare(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if not point.condition.shielded]


def _blind_table(audit: Audit) -> Table:
    head: Line = [
        "",
        audit.measure,
        "left",
        "surely less",
        *(["left behind the shield", "alarms"] if audit.shield else []),
    ]
    rows: list[Line] = []
    tell = partial(measured, audit)
    for point in [audit.clean[0], *_bare(audit.blind)]:
        name = point.condition.change
        cells: list[str | Cell] = [Cell(name.partition(": ")[2] or name, small=(REPLACEMENTS.get(name, ""),))]
        cells += [interval_cell(point, tell), percent_left(point), "yes" if point.sure else "no"]
        if audit.shield:
            behind = _behind(audit, point)
            cells += [percent_left(behind), _alarms(behind)]
        rows.append(cells)
    return Table(f"{_means(audit)} {_kept_means(audit)}", head, rows)


def _table(audit: Audit, curves: Sequence[Curve]) -> Table:
    severities = sorted({point.condition.severity for point in audit.points if point.condition.severity is not None})
    head: Line = ["", *(f"severity {severity}" for severity in severities), *([] if severities else [audit.measure])]
    rows: list[Line] = [["picture as it is", _cell(audit, audit.clean[0])]]
    if audit.chance is not None:
        rows.append(["random actions", _cell(audit, audit.chance)])
    rows += [_row(audit, audit.curve(curve.change, shielded)) for curve in curves for shielded in audit.shields]
    alarms = " Alarms are the share of steps in which the shield doubted its own answer." if audit.shield else ""
    return Table(f"{_means(audit)} {_kept_means(audit)}{alarms}", head, rows)


def _row(audit: Audit, curve: Curve) -> Line:
    notes = {point.note for point in curve.points if point.note}
    small = (("behind the shield",) if curve.points[0].condition.shielded else ()) + tuple(notes)
    return [Cell(curve.change, code=True, small=small), *(_cell(audit, point) for point in curve.points)]


def _cell(audit: Audit, point: Point) -> Cell:
    small = []
    if point.kept is not None and point.condition.change != "as it is":
        small.append(f"{percent_left(point)} left{', unsure' if point.kept < 1.0 and not point.sure else ''}")
    if point.alarms is not None:
        small.append(f"alarms {_alarms(point)}")
    return interval_cell(point, partial(measured, audit), *small)


def _means(audit: Audit) -> str:
    interval = "Wilson's" if audit.measure == SUCCESS else "a bootstrap"
    return f"Means over {audit.sample}, with {interval} 95 % interval over {audit.unit}."


def _kept_means(audit: Audit) -> str:
    if audit.measure == DRIFT:
        return "Left is 1 minus the drift: 0 % where it acts as on another frame altogether."
    return (
        "Left is what remains between random actions (0 %) and the picture as it is (100 %); “unsure” where the "
        "losses, episode by episode, can't be told apart from none."
    )


def _alarms(point: Point) -> str:
    return "-" if point.alarms is None else f"{100 * point.alarms:.0f} %"


def _unknowns(audit: Audit, curves: Sequence[Curve]) -> list[str]:
    """What this page does not say, in sentences."""
    tried = ", ".join(curve.change for curve in curves)
    drawn = "as foveal draws them by formulas; a real lens, lamp or rainstorm is something else"
    found = [
        f"What other changes would do: these alone were tried ({tried}), {drawn}.",
        "How severities compare between changes: severity 3 of one is not as bad as severity 3 of another.",
        f"How much other trainings of the same policy differ: intervals are over {audit.unit} of this one alone.",
    ]
    if not audit.maps:
        found.append("Which part of the picture it looks at: no map of it was made.")
    else:
        found.append(
            "What a map leaves out: that taking away what it marks matters does not say that nothing else does, and a "
            "map of one number says nothing of another."
        )
    judged = sum(point.kept is not None for point in audit.points)
    if judged:
        chance = f"of {judged} points some {max(1, round(SURE_BY_CHANCE * judged))} may be called so by chance alone"
        found.append(f"Which single losses are real: each is called sure by an interval of its own, and {chance}.")
    if len(audit.clean[0].values) < ROUGH:
        found.append(f"How wide intervals truly are: over {audit.sample} they are rough, and rather too narrow.")
    if audit.measure == DRIFT:
        found.append(
            "What the policy would achieve: its actions are compared on frames that others' or its own actions led to, "
            "and nothing is carried out. A small drift can be ruinous, and a large one harmless."
        )
    if not audit.settings.get("masks"):
        found.append(
            "How it takes other backgrounds: nobody told which pixels are the task's own, so the background alone "
            "could not be changed."
        )
    return [*found, *audit.remarks]
