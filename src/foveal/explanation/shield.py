"""The page of ``foveal shield train``: what a shield makes of frames that it never saw, and when it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foveal.corruptions import CORRUPTIONS, Corruption
from foveal.errors import FovealError
from foveal.evaluation.layout import number
from foveal.explanation.charts import Sparkline
from foveal.explanation.page import Cell, Line, Table, write_page
from foveal.explanation.panels import percent
from foveal.explanation.pictures import Picture, png
from foveal.fovea.frames import FrameSet
from foveal.fovea.network import LEVELS
from foveal.fovea.restoring import FOREGROUND, MASKED, RESTORED
from foveal.progress import watched
from foveal.shield.config import FILES, MOTION, SALIENCY, SIMULATOR
from foveal.shield.measures import WORST, Measured, changed, corruption_for, detection, measure
from foveal.shield.shield import Shield
from foveal.shield.shielded import lit

SEVERITIES = (3, 5)
MEASURED = 100
"""Frames that are measured under each corruption and severity, at most."""
CURVES = {
    "shield/error": ("error, levels of 255", LEVELS),
    "shield/error_on_task": ("error on the task, levels of 255", LEVELS),
    "shield/mask": ("cross-entropy of the mask", 1.0),
    "shield/change": ("squared error of the logarithm of the change", 1.0),
}
"""Logged name -> what it is called, and what it is multiplied with."""
ARROW = "\N{RIGHTWARDS ARROW}"
GIVEN = {
    RESTORED: "",
    MASKED: ": the frame as it came, black outside the task",
    FOREGROUND: ": the restored frame, black outside the task",
}
"""What policies are given, after a shield's ``output``."""

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""(Step, value) by name."""


@dataclass(frozen=True)
class Trial:
    """Frames under one corruption, or under none.

    Attributes:
        name: of the corruption; None for the trained look.
        trained: whether the shield was trained on it.
        measured: one for each of ``SEVERITIES``, or one alone where there is no corruption.
        pictures: of each of ``SEVERITIES`` one frame: as it came, restored, and its mask.
    """

    name: str | None
    trained: bool
    measured: Sequence[Measured]
    pictures: Sequence[Picture]


def shield_page(
    out: str | Path, shield: Shield, frames: FrameSet, curves: Curves | None = None, *, progress: bool = False
) -> Path:
    """Write the page of a shield.

    Args:
        out: the page, one file that needs no other.
        shield: trained to its end.
        frames: of episodes that it did not learn from; at most 100 of them are measured.
        curves: what was logged in its training.
        progress: show a bar.

    Returns:
        The absolute path.

    Raises:
        FovealError: its training is not over, there are no frames, or the page can't be written.
    """
    if not np.isfinite(shield.limit):
        raise FovealError("this shield's training is not over, and its limit of doubt is set at the end: resume it")
    if not len(frames):
        raise FovealError("there are no frames to show a shield on")
    some = evenly(frames, MEASURED)
    names = sorted(CORRUPTIONS.names(), key=lambda name: name in shield.config.corruptions)  # the unseen ones first
    trials = [_trial(shield, some, None)]
    trials += [_trial(shield, some, name) for name in watched(names, len(names), "measure", visible=progress)]
    return write_page(
        out,
        "shield.html.j2",
        title=f"A shield for {shield.env_id}",
        environment=shield.env_id,
        lede=_lede(shield, len(some), trials),
        figures=_figures(shield, trials),
        table=_table(shield, trials),
        guide=_guide(shield),
        columns=[(f"severity {severity}", what) for severity in SEVERITIES for what in WHAT],
        side=shield.image_size,
        rows=[_row(trial) for trial in trials],
        curves=_curves(curves or {}),
        config={**shield.config.as_dict(), "env": shield.env_id, "image_size": shield.image_size, "seed": shield.seed},
    )


TOLD_BY = {
    SIMULATOR: "the simulator's own (privileged)",
    MOTION: "that by motion",
    SALIENCY: "that by the policy's saliency",
    FILES: "the one that was drawn, or learned from those",
}
"""Which masks a shield learned from, in words."""
WHAT = ("came in", "given", "task")


def _trial(shield: Shield, frames: FrameSet, name: str | None) -> Trial:
    made = None if name is None else corruption_for(shield, name)
    severities = SEVERITIES if name is not None else SEVERITIES[:1]
    measured = [measure(shield, frames, made, severity) for severity in severities]
    examples = evenly(frames, len(SEVERITIES) + 2)  # the first and the last are the likeliest to be odd
    shown: list[Picture] = []
    for place, severity in enumerate(SEVERITIES):
        shown += _pictures(shield, examples, place + 1, made, severity)
    return Trial(name, name in shield.config.corruptions, measured, shown)


def _pictures(shield: Shield, frames: FrameSet, place: int, made: Corruption | None, severity: int) -> list[Picture]:
    """One frame as it came, restored, and its mask."""
    came, *_ = next(changed(frames, made, severity))
    place = min(place, len(frames) - 1)
    restored = shield.restore(came[place : place + 1])
    given = restored.frames[0]
    return [came[place].permute(1, 2, 0).numpy(), given.transpose(1, 2, 0), lit(given, restored.masks[0])]


def evenly(frames: FrameSet, count: int) -> FrameSet:
    """So many of the frames, from the first to the last, or all if there are fewer."""
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return FrameSet(frames.pixels[places], frames.masks[places], frames.episodes[places])


def _lede(shield: Shield, count: int, trials: Sequence[Trial]) -> str:
    weights = sum(parameter.numel() for parameter in shield.network.parameters())
    unseen = sum(not trial.trained for trial in trials[1:])
    return (
        f"A network of {weights:,} weights that gives frames back as they looked in training. Here it is tried on "
        f"{count} frames of episodes that it did not learn from, under {len(trials) - 1} corruptions; on {unseen} of "
        "these, held out, it was not trained."
    )


def _figures(shield: Shield, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """The most important numbers, and what they are."""
    clean = trials[0].measured[0]
    figures = [
        (f"of the trained look is above the limit of doubt, {number(shield.limit)}", percent(_alarms(shield, clean))),
        ("mean error of the trained look, levels of 255", f"{clean.after.mean():.1f}"),
    ]
    unseen = [measured for trial in trials[1:] if not trial.trained for measured in trial.measured]
    if unseen:
        doubt, error = (np.concatenate([getattr(one, what) for one in unseen]) for what in ("doubt", "after"))
        before = np.mean([one.before.mean() for one in unseen])
        figures += [
            ("mean error under corruptions it was not trained on", f"{before:.1f} {ARROW} {error.mean():.1f}"),
            (
                f"AUROC of doubt for the worst {100 * WORST:.0f} % of frames under these",
                f"{detection(doubt, error):.2f}",
            ),
        ]
    return figures


def _table(shield: Shield, trials: Sequence[Trial]) -> Table:
    kinds = ("error", "mask", "doubt")
    head: Line = ["", *(Cell(kind, small=(f"severity {s}",)) for s in SEVERITIES for kind in kinds)]
    rows: list[Line] = [
        [_name(trial), *(cell for measured in trial.measured for cell in _cells(shield, measured))] for trial in trials
    ]
    caption = (
        "Mean absolute error of frames as they came, and restored, in levels of 255; intersection over union of the "
        f"mask with {TOLD_BY[shield.config.masks]}, of the frame as it was; the shield's doubt, which is how "
        "unsure it is of its own answer, in percent, and the share of frames in which it is above the limit. That was "
        "set on these episodes: of their frames none as it is is above it, and at most 1 in 10 as changed in training. "
        "The first row is the trained look, at no severity."
    )
    return Table(caption, head, rows)


def _name(trial: Trial) -> Cell:
    if trial.name is None:
        return Cell("trained look")
    return Cell(trial.name, code=True, small=("trained on" if trial.trained else "not trained on",))


def _cells(shield: Shield, measured: Measured) -> list[str | Cell]:
    error = f"{measured.before.mean():.1f} {ARROW} {measured.after.mean():.1f}"
    alarms = f"{100 * _alarms(shield, measured):.0f} % alarms"
    return [error, f"{measured.overlap:.2f}", Cell(f"{measured.doubt.mean():.1f}", small=(alarms,))]


def _alarms(shield: Shield, measured: Measured) -> float:
    return float((measured.doubt > shield.limit).mean())


def _guide(shield: Shield) -> list[tuple[str, str]]:
    given = f"what the shield makes of it and a policy acts on{GIVEN[shield.config.output]}"
    return [
        ("came in", "a frame as a camera would give it under the corruption"),
        ("given", given),
        ("task", "the same, dark where the shield takes pixels for none of the task's own"),
    ]


def _row(trial: Trial) -> tuple[str, str, list[tuple[str, str]]]:
    """A row of pictures: a name, what else there is to say, and data URIs with what each shows."""
    name = (trial.name or "trained look").replace("_", " ")
    note = "" if trial.name is None or trial.trained else "held out"
    told = [f"{what}, {name}, severity {severity}" for severity in SEVERITIES for what in WHAT]
    return name, note, [(png(picture), text) for picture, text in zip(trial.pictures, told, strict=True)]


def _curves(logged: Curves) -> list[Sparkline]:
    found = []
    for name, (label, unit) in CURVES.items():
        if points := logged.get(name):
            steps, values = zip(*points, strict=True)
            found.append(Sparkline(label, steps, [unit * value for value in values], steps[-1]))
    return found
