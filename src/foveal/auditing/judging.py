"""What is left of a policy under a change, whether that is sure, and whether it looks at its camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from foveal.auditing.results import DRIFT, Audit, Point
from foveal.auditing.trials import ENOUGH, Behaved, trusting
from foveal.evaluation.layout import number
from foveal.evaluation.statistics import bootstrap_interval

LOOKS, BLIND, UNCLEAR = "looks", "blind", "unclear"
BESIDE_THE_POINT = " What it achieves rests on none of what they mark, though: for that it needs no camera."
SLIGHT = 0.1
"""Share of what a policy is worth that counts as no loss; drift up to which it counts as none."""


def judged(point: Point, clean: Point, chance: Point | None, measure: str) -> Point:
    """A point with what is kept, and whether the loss is sure.

    Args:
        point: of the same episodes as ``clean``.
        clean: the bare policy with the picture as it is.
        chance: random actions; None where drift is measured.
        measure: what the values are.
    """
    if measure == DRIFT:
        return replace(point, kept=1.0 - point.mean, sure=_enough(point) and point.low > SLIGHT)
    assert chance is not None
    worth = clean.mean - chance.mean
    if not worth > 0 or clean.low <= chance.mean:
        return point
    loss = np.subtract(clean.values, point.values)
    sure = _enough(point) and bootstrap_interval(loss)[0] > 0
    return replace(point, kept=(point.mean - chance.mean) / worth, sure=sure)


def verdict(blind: Sequence[Point], measure: str) -> str:
    """Whether a policy looks: ``"looks"``, ``"blind"`` or ``"unclear"``.

    It acts without knowing anything under each of these conditions. So where it still succeeds under one of them, it
    does not need its camera; it does where each of them costs it surely. Of actions on recorded frames, those of a
    blind policy change under none of them.

    Args:
        blind: the points of the test of blindness, without a shield.
        measure: what their values are.
    """
    if not blind or not all(_enough(point) for point in blind) or any(point.kept is None for point in blind):
        return UNCLEAR
    kept = [point.kept or 0.0 for point in blind]
    if measure == DRIFT and max(point.high for point in blind) <= SLIGHT:
        return BLIND
    if measure != DRIFT and max(kept) >= 1.0 - SLIGHT:
        return BLIND
    return LOOKS if all(point.sure for point in blind) and max(kept) < 1.0 - SLIGHT else UNCLEAR


def summarized(audit: Audit) -> tuple[str, ...]:
    """Sentences from the numbers: does it look, what breaks it, which maps to trust (if some were tried), how sure."""
    needless = BESIDE_THE_POINT if audit.verdict == BLIND else ""
    maps = [trusting(audit.maps) + needless] if audit.maps else []
    return (_looking(audit), _breaking(audit), *maps, _certainty(audit))


def _looking(audit: Audit) -> str:
    bare = [point for point in audit.blind if not point.condition.shielded]
    if not bare:
        return "Whether it looks at its camera was not tested."
    least = max(bare, key=lambda point: -1.0 if point.kept is None else point.kept)
    name = least.condition.change.partition(": ")[2]
    if least.kept is None:
        return (
            f"Whether it looks at its camera can't be told: with the picture as it is it does no better than random "
            f"actions ({_number(audit, audit.clean[0])} and {_chance(audit)}), so it has nothing to lose."
        )
    left = percent_left(least)
    if audit.measure == DRIFT:
        return _looking_at_frames(audit, bare)
    if audit.verdict == BLIND:
        return f"It is blind: with its camera replaced ({name}) it keeps {left} of what it is worth."
    if audit.verdict == LOOKS:
        return f"It looks at its camera: with that replaced it keeps {left} of what it is worth at most ({name})."
    return (
        f"Whether it looks at its camera is unclear: with that replaced it keeps up to {left} of what it is worth "
        f"({name}), and {_few(audit)}."
    )


def _looking_at_frames(audit: Audit, blind: Sequence[Point]) -> str:
    means = sorted(point.mean for point in blind)
    drift = f"by {means[0]:.2f} to {means[-1]:.2f} of the usual distance between actions on different frames"
    told = {BLIND: "It is blind to its camera", LOOKS: "It looks at its camera"}
    unclear = "Whether it looks at its camera is unclear"
    return f"{told.get(audit.verdict, unclear)}: with that replaced its actions change {drift}."


def _breaking(audit: Audit) -> str:
    curves = audit.curves()
    broken = [curve for curve in curves if curve.broke is not None]
    if not curves:
        return "No change of the picture was tried."
    if audit.clean[0].kept is None:
        return f"What breaks it can't be told either; {len(curves)} changes were tried."
    if not broken:
        worst = min((point for curve in curves for point in curve.points), key=lambda point: point.kept or 0.0)
        which = f"None of the {len(curves)} changes takes" if len(curves) > 1 else "The one change tried does not take"
        return f"{which} half of what it is worth; the worst, {worst.condition.name}, leaves {percent_left(worst)}."
    names = [_broke(curve.broke) for curve in broken[:3] if curve.broke is not None]
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    verb = "change its actions by half or more" if audit.measure == DRIFT else "take half or more of what it is worth"
    sentence = f"{len(broken)} of {len(curves)} changes {verb}, first {', '.join(names)}{more}."
    return sentence + _shielded(audit, len(broken))


def _shielded(audit: Audit, bare: int) -> str:
    if audit.shield is None:
        return ""
    behind = sum(curve.broke is not None for curve in audit.curves(shielded=True))
    return f" Behind the shield it is {behind} instead of {bare}."


def _broke(point: Point) -> str:
    severity = point.condition.severity
    told = "" if severity is None else f" at severity {severity}"
    return f"{point.condition.change}{told} ({percent_left(point)} left)"


def _certainty(audit: Audit) -> str:
    clean, points = audit.clean[0], [point for point in audit.points if point.kept is not None]
    sure = sum(point.sure for point in points)
    if audit.measure == DRIFT:
        return (
            f"Each point is {audit.sample} of recorded frames; actions surely differ at {sure} of {len(points)} "
            "points, and no return was measured."
        )
    one = f"{_number(audit, clean)} with the picture as it is (95 % interval over episodes {_interval(clean)})"
    few = "" if _enough(clean) else f", and {_few(audit)}"
    sure_at = f"the loss is told apart from chance at {sure} of {len(points)} points"
    return f"Each point is {audit.sample}, the same for all: {one}; {sure_at}{few}."


def percent_left(point: Point | Behaved) -> str:
    """What is kept, as people are told it: less than nothing is nothing."""
    return "?" if point.kept is None else f"{100 * max(0.0, point.kept):.0f} %"


def _few(audit: Audit) -> str:
    count = len(audit.clean[0].values)
    if count < ENOUGH:
        return f"{audit.sample} can make nothing sure (at least {ENOUGH} are needed)"
    return f"the interval over {count} {audit.unit} is too wide to be sure"


def _enough(point: Point) -> bool:
    return len(point.values) >= ENOUGH


def _number(audit: Audit, point: Point) -> str:
    return f"{audit.measure} {number(point.mean)}"


def _chance(audit: Audit) -> str:
    return "unknown" if audit.chance is None else number(audit.chance.mean)


def _interval(point: Point) -> str:
    return f"{number(point.low)} to {number(point.high)}"
