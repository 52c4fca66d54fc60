"""The page of an audit: the answer first, then the numbers, then what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foveal.auditing.blindness import REPLACEMENTS
from foveal.auditing.judging import BLIND, LOOKS, UNCLEAR, percent_left
from foveal.auditing.report_comparison import comparison, policy_names
from foveal.auditing.report_films import filmed, player
from foveal.auditing.report_maps import Shown, section
from foveal.auditing.results import DRIFT, SUCCESS, Audit, Curve, Point
from foveal.evaluation.layout import number
from foveal.explanation.charts import SeverityCurve
from foveal.explanation.page import Cell, Line, Table, write_page
from foveal.explanation.pictures import png, webp

LARGEST = 200
"""Side in pixels up to which pictures go into the page without loss."""
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
    steady = [point for curve in curves for point in curve.points if point.condition.severity is None]
    return write_page(
        out,
        "audit.html.j2",
        title=f"Audit in {audit.place}",
        kind=audit.policy["kind"],
        place=audit.place,
        summary=audit.summary,
        figures=_figures(audit),
        looking=_looking(audit),
        blind=_blind_table(audit),
        blind_shown=[_shown(audit, point) for point in _bare(audit.blind) if point.pictures],
        breaking=_breaking(audit, steady),
        series=series(audit),
        measure=audit.measure,
        curves=charts(audit),
        curves_told=_curves_told(audit),
        shown_told=_shown_told(audit),
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
        figures.append((f"{audit.measure} with the picture as it is", _number(audit, audit.clean[0].mean)))
        assert audit.chance is not None
        figures.append((f"{audit.measure} of random actions", _number(audit, audit.chance.mean)))
    else:
        figures.append(("pieces of consecutive frames", str(len(audit.clean[0].values))))
    return figures


def _looking(audit: Audit) -> str:
    if audit.measure == DRIFT:
        return (
            "Its camera is replaced by something that tells nothing. A policy whose actions stay as they are under all "
            "of these does not look at its camera."
        )
    return (
        "Its camera is replaced by something that tells nothing. Whatever it still gains then it gains without "
        "looking; so a policy that succeeds under any of these does not need its camera."
    )


def _breaking(audit: Audit, steady: Sequence[Point]) -> str:
    others = ", ".join(f"{point.condition.change} ({percent_left(point)} left)" for point in _bare(steady))
    what = (
        "its actions drift by half or more" if audit.measure == DRIFT else "less than half of what it is worth is left"
    )
    return (
        f"Each change is drawn anew in every {audit.unit[:-1]}, at severities from 1 to 5. A change has broken it "
        f"where {what}; the weakest point comes first.{f' Without severities: {others}.' if others else ''}"
    )


def _curves_told(audit: Audit) -> str:
    told = f"{audit.measure.capitalize()} over severity: a mark is the mean, a bar its 95 % interval over {audit.unit}."
    if audit.measure == DRIFT:
        return f"{told} 0: the actions on the picture as it is; 1: as different as on another frame altogether."
    both = ", of both policies" if audit.against is not None else ""
    return f"{told} Dashed: the picture as it is{both}, and random actions."


def _shown_told(audit: Audit) -> str:
    shield = ", and beside it what the shield made of that" if audit.shield is not None else ""
    return (
        f"What the first camera showed{shield}, at the mildest severity that broke it, or at the highest that was "
        "tried where none did."
    )


def charts(audit: Audit) -> list[SeverityCurve]:
    """Of every change that has severities, the weakest point first."""
    return [_chart(audit, curve) for curve in audit.curves() if curve.points[0].condition.severity is not None]


def series(audit: Audit) -> list[str]:
    """Names of the lines in every chart."""
    names = [""] if audit.against is None else policy_names(audit)
    shields = [""] if audit.shield is None else ["", "behind the shield"]
    return [", ".join(filter(None, (name, shield))) or "as it is" for name in names for shield in shields]


def _chart(audit: Audit, curve: Curve) -> SeverityCurve:
    shields = [False] if audit.shield is None else [False, True]
    policies = [audit, *([] if audit.against is None else [audit.against])]
    lines = [(one, shielded) for one in policies for shielded in shields]
    drawn = []
    for name, (one, shielded) in zip(series(audit), lines, strict=True):
        points = [p for p in one.points_of(curve.change) if p.condition.shielded == shielded]
        drawn.append((name, [(p.condition.severity or 0, p.mean, p.low, p.high) for p in points]))
    references = [("the picture as it is", audit.clean[0].mean)]
    if audit.against is not None:
        references.append((f"the picture as it is, {audit.against.policy['kind']}", audit.against.clean[0].mean))
    if audit.chance is not None:
        references.append(("random actions", audit.chance.mean))
    film = filmed(audit).get(curve.change)
    return SeverityCurve(curve.change.replace("_", " "), drawn, references, _range(audit), film)


def _range(audit: Audit) -> tuple[float, float]:
    """Of the axis of all charts."""
    others = [] if audit.against is None else [*audit.against.points, *audit.against.clean]
    points = [*audit.points, *audit.clean, *([] if audit.chance is None else [audit.chance]), *others]
    return min(0.0, *(point.low for point in points)), max(point.high for point in points)


def _gallery(audit: Audit, curves: Sequence[Curve]) -> list[Shown]:
    first = [_shown(audit, audit.clean[0])] if audit.clean[0].pictures else []
    points = [curve.broke or curve.points[-1] for curve in curves]
    return first + [_shown(audit, point) for point in points if point.pictures]


def _shown(audit: Audit, point: Point) -> Shown:
    """With what the shield made of the same picture, where there is one."""
    twins = (p for p in (*audit.points, *audit.blind, *audit.clean) if p.condition.shielded and _same(p, point))
    seen = next(twins, point).pictures
    pictures = list(zip(seen, ("as it came", "behind the shield"), strict=False))
    severity = "" if point.condition.severity is None else f", severity {point.condition.severity}"
    name = point.condition.change.replace("_", " ")
    height, width, _ = point.pictures[0].shape
    encode = png if max(height, width) <= LARGEST else webp
    told = f"{severity.removeprefix(', ')}{': ' if severity else ''}{percent_left(point)} left"
    return Shown(name, told, [(encode(p), f"{name}{severity}, {what}") for p, what in pictures], width, height)


def _same(one: Point, other: Point) -> bool:
    a, b = one.condition, other.condition
    return (a.change, a.severity) == (b.change, b.severity)


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
    for point in [audit.clean[0], *_bare(audit.blind)]:
        name = point.condition.change
        cells: list[str | Cell] = [Cell(name.partition(": ")[2] or name, small=(REPLACEMENTS.get(name, ""),))]
        interval = f"{_number(audit, point.low)} to {_number(audit, point.high)}"
        cells += [
            Cell(_number(audit, point.mean), small=(interval,)),
            percent_left(point),
            "yes" if point.sure else "no",
        ]
        if audit.shield:
            behind = next(p for p in (*audit.blind, *audit.clean) if p.condition.shielded and _same(p, point))
            cells += [percent_left(behind), _alarms(behind)]
        rows.append(cells)
    return Table(f"{_means(audit)} {_kept_means(audit)}", head, rows)


def _table(audit: Audit, curves: Sequence[Curve]) -> Table:
    severities = sorted({point.condition.severity for point in audit.points if point.condition.severity is not None})
    head: Line = ["", *(f"severity {severity}" for severity in severities), *([] if severities else [audit.measure])]
    rows: list[Line] = [["picture as it is", *[_cell(audit, audit.clean[0])], *[""] * (len(head) - 2)]]
    if audit.chance is not None:
        rows.append(["random actions", _cell(audit, audit.chance), *[""] * (len(head) - 2)])
    for curve in curves:
        rows.append(_row(audit, curve, curve.points, len(head)))
        if audit.shield is not None:
            behind = [p for p in audit.points if p.condition.shielded and p.condition.change == curve.change]
            rows.append(_row(audit, curve, behind, len(head)))
    alarms = " Alarms are the share of steps in which the shield doubted its own answer." if audit.shield else ""
    return Table(f"{_means(audit)} {_kept_means(audit)}{alarms}", head, rows)


def _row(audit: Audit, curve: Curve, points: Sequence[Point], width: int) -> Line:
    notes = {point.note for point in points if point.note}
    small = (("behind the shield",) if points[0].condition.shielded else ()) + tuple(notes)
    cells = [_cell(audit, point) for point in points]
    return [Cell(curve.change, code=True, small=small), *cells, *[""] * (width - 1 - len(cells))]


def _cell(audit: Audit, point: Point) -> Cell:
    small = [f"{_number(audit, point.low)} to {_number(audit, point.high)}"]
    if point.kept is not None and point.condition.change != "as it is":
        small.append(f"{percent_left(point)} left{', unsure' if point.kept < 1.0 and not point.sure else ''}")
    if point.alarms is not None:
        small.append(f"alarms {_alarms(point)}")
    return Cell(_number(audit, point.mean), small=tuple(small))


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


def _number(audit: Audit, value: float) -> str:
    if audit.measure == SUCCESS:
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if audit.measure == DRIFT else number(value)


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
