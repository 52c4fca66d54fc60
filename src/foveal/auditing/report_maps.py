"""The part of an audit's page that says whether a policy's maps are true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from foveal.auditing.covering import ELSEWHERE, OTHERS, SALIENT, SHARE
from foveal.auditing.results import DRIFT, SUCCESS, Audit, counted
from foveal.auditing.trials import ACTION, FALSE, SENSITIVE, TRUE, Estimate, Path, Trial
from foveal.evaluation.layout import number
from foveal.explanation.charts import ShareCurve
from foveal.explanation.page import Cell, Line, Table
from foveal.explanation.pictures import png, webp

LARGEST = 200
"""Side in pixels up to which pictures go into the page without loss."""
ANSWERS = {TRUE: "yes", FALSE: "no"}
SERIES = ("along the map", "along the same map, shifted elsewhere")
OVER_PARTS = ("precision", "recall", "IoU", "pointing", "TID")


@dataclass(frozen=True)
class Shown:
    """A picture of what came in, and behind a shield of what was given; or a frame, and the same with a map over it.

    Attributes:
        name: of the change, or of the map.
        told: what came of it.
        pictures: data URIs, with what each shows.
        width, height: in pixels.
    """

    name: str
    told: str
    pictures: Sequence[tuple[str, str]]
    width: int
    height: int


@dataclass(frozen=True)
class Section:
    """What the template needs; sentences, tables and charts.

    Attributes:
        told, lying, curves_told: sentences.
        table, behaviour, masks, further: what tells whether a map is true, what becomes of episodes, where the maps
            lie, and what else there is.
        shown: a frame under each map.
        charts: deletion and insertion.
        likenesses: over the layers that are random.
        series: names of their lines.
    """

    told: str
    lying: str
    curves_told: str
    table: Table
    behaviour: Table | None
    masks: Table | None
    further: Table
    shown: Sequence[Shown]
    charts: Sequence[ShareCurve]
    likenesses: Sequence[ShareCurve]
    series: Sequence[str] = SERIES


def section(audit: Audit) -> Section:
    """Of an audit with maps."""
    charts = [_chart(trial, kind, path) for trial in audit.maps for kind, path in _paths(trial) if _drawn(path)]
    alike = [_likeness(trial) for trial in audit.maps if trial.likeness]
    tables = _table(audit), _behaviour(audit), _masks(audit), _further(audit)
    return Section(_told(audit), _lying(audit), _curves_told(), *tables, _shown(audit), charts, alike)


def _told(audit: Audit) -> str:
    return (
        "A map is a claim: these pixels matter. A true one names pixels that, blurred away first (deletion), change "
        "what it is of sooner than as many pixels elsewhere do, and that, given back first to a blurred picture "
        "(insertion), restore it sooner; and it depends on what was learned. That is taken out layer by layer, from "
        f"the top: a map whose likeness to itself stays above {SENSITIVE:g} when the upper half of the layers, or "
        "all, have random weights is not of this policy."
    )


def _lying(audit: Audit) -> str:
    names = [trial.name for trial in audit.maps if trial.insensitive]
    if not names:
        return ""
    return (
        f"{' and '.join(names)}: such a map can look convincing, and the pixels may even matter; but it looks much "
        "the same when the layers that decide know nothing. So it tells what the lower layers pick out, edges and "
        "shapes mostly, and not what this policy makes of it. Guided backpropagation is known for it (Adebayo et al. "
        "2018)."
    )


def _curves_told() -> str:
    return (
        "What is kept of the number that the map is of, over the share of pixels blurred away (deletion) or given back "
        "(insertion): 1 where it is the whole picture's, 0 where it is as far from that as the blurred picture's. "
        "Means over episodes."
    )


def _table(audit: Audit) -> Table:
    head: Line = ["", "true?", "deletion", "insertion", "likeness, upper half random", "all random"]
    rows: list[Line] = []
    for trial in audit.maps:
        cells: list[str | Cell] = [Cell(trial.name, code=True), ANSWERS.get(trial.verdict, "unclear")]
        cells += [_against(path) for _, path in _paths(trial)]
        rows.append([*cells, _estimated(trial.upper), _estimated(trial.likeness[-1] if trial.likeness else None)])
    count = counted(len(audit.maps[0].deletion[audit.maps[0].watched].areas), audit.unit)
    caption = (
        f"Maps of {audit.maps[0].of}. Areas under the curves below, and of the same map shifted elsewhere, with 95 % "
        f"intervals over {audit.unit} ({count}). A true map's deletion is below the other, its insertion above."
    )
    return Table(caption, head, rows)


def _behaviour(audit: Audit) -> Table | None:
    """What becomes of whole episodes; None where none were played so."""
    trials = [trial for trial in audit.maps if trial.behaviour]
    if audit.measure == DRIFT or not trials:
        return None
    head: Line = ["", "what is marked blurred", "as many elsewhere", "all but what is marked"]
    rows: list[Line] = [
        [Cell(trial.name, code=True), *(_behaved(audit, trial, which) for which in (SALIENT, ELSEWHERE, OTHERS))]
        for trial in trials
    ]
    caption = (
        f"{audit.measure.capitalize()} of whole episodes in which {100 * SHARE:.0f} % of every picture is blurred "
        f"before the policy sees it, with 95 % intervals over {audit.unit}: the pixels that matter most by the map, "
        "as many elsewhere (the same, shifted), or all but these. Blurring leaves what is coarse; a policy that "
        "needs no more loses nothing."
    )
    return Table(caption, head, rows)


def _behaved(audit: Audit, trial: Trial, which: str) -> str | Cell:
    found = trial.behaviour.get(which)
    if found is None:
        return "-"
    interval = f"{_score(audit, found.low)} to {_score(audit, found.high)}"
    left = () if found.kept is None else (f"{100 * max(0.0, found.kept):.0f} % left",)
    return Cell(_score(audit, found.mean), small=(interval, *left))


def _further(audit: Audit) -> Table:
    """Actions, and other looks of the same states."""
    changes = list(dict.fromkeys(change for trial in audit.maps for change in trial.stable))
    head: Line = [
        "",
        "actions: deletion",
        "actions: insertion",
        *(f"likeness under {change}, and SSIM" for change in changes),
    ]
    rows: list[Line] = []
    for trial in audit.maps:
        acted = [_against(paths[ACTION]) if ACTION in paths else "-" for paths in (trial.deletion, trial.insertion)]
        rows.append([Cell(trial.name, code=True), *acted, *(_stable(trial, one) for one in changes)])
    caption = (
        "Deletion and insertion of what the policy acts by (its action, or the numbers among which it chooses), and "
        "how alike a map is to that of the same states under a change of the picture: likeness by ranks, of what is "
        "the picture's own, and SSIM (Wang et al. 2004), of how they look; 1 of both is the same. A map rightly "
        "changes where what the policy does changes."
    )
    return Table(caption, head, rows)


def _stable(trial: Trial, change: str) -> str | Cell:
    alike, similar = trial.stable.get(change), trial.similar.get(change)
    small = [] if alike is None else [f"{alike.low:.2f} to {alike.high:.2f}"]
    small += [] if similar is None else [f"SSIM {similar.mean:.2f}", f"{similar.low:.2f} to {similar.high:.2f}"]
    return Cell("-" if alike is None else f"{alike.mean:.2f}", small=tuple(small))


def _masks(audit: Audit) -> Table | None:
    """Beside the simulator's own mask; None where nobody tells it."""
    share = audit.maps[0].parts.get("share")
    if share is None:
        return None
    rows: list[Line] = [
        [Cell(trial.name, code=True), *(_estimated(trial.parts.get(name)) for name in OVER_PARTS)]
        for trial in audit.maps
    ]
    caption = (
        "The map's mask against the pixels that the simulator knows to be the task's own, which are "
        f"{100 * share.mean:.1f} % of the picture: the precision of a mask laid at random. Pointing: how often the "
        "map's largest value lies on them. A map may rightly leave them, where the policy looks elsewhere: this says "
        "where it looks, not whether the map is true."
    )
    return Table(caption, ["", *OVER_PARTS], rows)


def _shown(audit: Audit) -> list[Shown]:
    found = []
    for trial in audit.maps:
        if trial.picture is None or trial.marked is None:
            continue
        height, width, _ = trial.picture.shape
        encode: Callable[..., str] = png if max(height, width) <= LARGEST else webp
        pictures = [(encode(trial.picture), "the frame"), (encode(trial.marked), f"map {trial.name} over the frame")]
        found.append(Shown(trial.name, f"true? {ANSWERS.get(trial.verdict, 'unclear')}", pictures, width, height))
    return found


def _paths(trial: Trial) -> list[tuple[str, Path]]:
    return [("deletion", trial.deletion[trial.watched]), ("insertion", trial.insertion[trial.watched])]


def _drawn(path: Path) -> bool:
    return bool(np.isfinite(path.kept).all(1).any() and np.isfinite(path.elsewhere).all(1).any())


def _chart(trial: Trial, kind: str, path: Path) -> ShareCurve:
    curves = [curve[np.isfinite(curve).all(1)].mean(0) for curve in (path.kept, path.elsewhere)]
    series = [
        (name, list(zip(path.shares.tolist(), curve.tolist(), strict=True)))
        for name, curve in zip(SERIES, curves, strict=True)
    ]
    return ShareCurve(f"{trial.name}: {kind}", series)


def _likeness(trial: Trial) -> ShareCurve:
    shares = [layers / trial.layers[-1] for layers in trial.layers]
    points = [(0.0, 1.0), *zip(shares, (one.mean for one in trial.likeness), strict=True)]
    return ShareCurve(f"{trial.name}: likeness", [("likeness", points)])


def _against(path: Path) -> str | Cell:
    if path.area is None or path.area_elsewhere is None or path.difference is None:
        return "-"
    difference = path.difference
    small = (f"elsewhere {path.area_elsewhere.mean:.2f}", f"difference {difference.low:+.2f} to {difference.high:+.2f}")
    return Cell(f"{path.area.mean:.2f}", small=small)


def _estimated(one: Estimate | None) -> str | Cell:
    return "-" if one is None else Cell(f"{one.mean:.2f}", small=(f"{one.low:.2f} to {one.high:.2f}",))


def _score(audit: Audit, value: float) -> str:
    if audit.measure == SUCCESS:
        return f"{100 * value:.0f} %"
    return number(value)
