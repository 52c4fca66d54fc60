"""The part of an audit's page that says whether a policy's maps are true."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from foveal.auditing.covering import ELSEWHERE, OTHERS, SALIENT, SHARE
from foveal.auditing.judging import percent_left
from foveal.auditing.report_parts import Shown, interval_cell, measured, two_digits
from foveal.auditing.results import DRIFT, Audit, counted
from foveal.auditing.trials import ACTION, FALSE, SENSITIVE, TRUE, Estimate, Path, Trial
from foveal.explanation.charts import CurveChart, share_chart
from foveal.explanation.page import Cell, Line, Table

ANSWERS = {TRUE: "yes", FALSE: "no"}
SERIES = ("along the map", "along the same map, shifted elsewhere")
OVER_PARTS = ("precision", "recall", "IoU", "pointing", "TID")


def section(audit: Audit) -> dict[str, Any]:
    """What the template needs of an audit with maps: sentences, tables, charts, and a frame under each map."""
    return {
        "sensitive": SENSITIVE,
        "lying": _lying(audit),
        "table": _table(audit),
        "shown": _shown(audit),
        "series": SERIES,
        "charts": [_chart(trial, kind, path) for trial in audit.maps for kind, path in _paths(trial) if _drawn(path)],
        "likenesses": [_likeness(trial) for trial in audit.maps if trial.likeness],
        "behaviour": _behaviour(audit),
        "masks": _masks(audit),
        "further": _further(audit),
    }


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
    left = () if found.kept is None else (f"{percent_left(found)} left",)
    return interval_cell(found, partial(measured, audit), *left)


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
    small = () if similar is None else (f"SSIM {similar.mean:.2f}", f"{similar.low:.2f} to {similar.high:.2f}")
    return Cell("-", small=small) if alike is None else interval_cell(alike, two_digits, *small)


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
        if trial.picture is not None and trial.marked is not None:
            pictures = [(trial.picture, "the frame"), (trial.marked, f"map {trial.name} over the frame")]
            found.append(Shown.of(trial.name, f"true? {ANSWERS.get(trial.verdict, 'unclear')}", pictures))
    return found


def _paths(trial: Trial) -> list[tuple[str, Path]]:
    return [("deletion", trial.deletion[trial.watched]), ("insertion", trial.insertion[trial.watched])]


def _drawn(path: Path) -> bool:
    return bool(np.isfinite(path.kept).all(1).any() and np.isfinite(path.elsewhere).all(1).any())


def _chart(trial: Trial, kind: str, path: Path) -> CurveChart:
    curves = [curve[np.isfinite(curve).all(1)].mean(0) for curve in (path.kept, path.elsewhere)]
    series = [
        (name, list(zip(path.shares.tolist(), curve.tolist(), strict=True)))
        for name, curve in zip(SERIES, curves, strict=True)
    ]
    return share_chart(f"{trial.name}: {kind}", series)


def _likeness(trial: Trial) -> CurveChart:
    shares = [layers / trial.layers[-1] for layers in trial.layers]
    points = [(0.0, 1.0), *zip(shares, (one.mean for one in trial.likeness), strict=True)]
    return share_chart(f"{trial.name}: likeness", [("likeness", points)])


def _against(path: Path) -> str | Cell:
    if path.area is None or path.area_elsewhere is None or path.difference is None:
        return "-"
    difference = path.difference
    small = (f"elsewhere {path.area_elsewhere.mean:.2f}", f"difference {difference.low:+.2f} to {difference.high:+.2f}")
    return Cell(f"{path.area.mean:.2f}", small=small)


def _estimated(one: Estimate | None) -> str | Cell:
    return "-" if one is None else interval_cell(one, two_digits)
