"""The page of ``foveal demo``: what was trained, what it is worth under visual change, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.evaluation.layout import duration
from foveal.evaluation.results import Condition, Results, write_json
from foveal.evaluation.statistics import Summary
from foveal.evaluation.world import TRAIN
from foveal.explanation.attention import Attention
from foveal.explanation.charts import NARROW, WIDE, Intervals, LearningCurve
from foveal.explanation.page import Cell, Line, Table, write_page
from foveal.explanation.panels import panels, reading_guide, times
from foveal.explanation.tables import mask_table

FORMAT = "foveal.demo/1"
STILLS = 5
"""Pictures per condition."""


@dataclass(frozen=True)
class Curve:
    """Returns during training.

    Attributes:
        episodes: (agent steps, return) of the training episodes, which explore.
        evaluations: (agent steps, summary of the returns) of the deterministic policy.
    """

    episodes: Sequence[tuple[int, float]] = ()
    evaluations: Sequence[tuple[int, Summary]] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "episodes": [{"step": step, "return": value} for step, value in self.episodes],
            "evaluations": [{"step": step, **told} for step, told in self.evaluations],
        }


@dataclass(frozen=True)
class Training:
    """What the training took.

    Attributes:
        steps: agent steps.
        updates: gradient updates.
        seconds: wall time of the training alone.
        curve: returns on the way.
        machine: as ``foveal.evaluation.results.machine`` tells it, of the machine that trained.
        command: that repeats it, or None.
    """

    steps: int
    updates: int
    seconds: float
    curve: Curve = field(default_factory=Curve)
    machine: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "curve": self.curve.as_dict(), "machine": dict(self.machine)}


def demo_page(
    out: str | Path,
    *,
    results: Results,
    random: Results,
    training: Training,
    attentions: Sequence[Attention],
    config: Mapping[str, Any],
    baseline: Results | None = None,
) -> Path:
    """Write the page, and everything on it as JSON beside it (same name, ``.json``).

    Args:
        out: the page, one file that needs no other.
        results: of the agent trained just now.
        random: of the uniformly random policy.
        training: what it took.
        attentions: from ``look``, one per condition to show.
        config: everything the agent was made with, JSON-able.
        baseline: of plain SAC, trained elsewhere for as many updates.

    Returns:
        The absolute path of the page.

    Raises:
        FovealError: the results are of different environments, or a file can't be written.
    """
    shipped = [] if baseline is None else [_Row("shipped result", baseline)]
    rows = [_Row("trained here", results), *shipped, _Row("", random)]
    ids = {str(row.results.environment.get("id")) for row in rows}
    if len(ids) > 1:
        raise FovealError(
            f"a demo compares policies on one environment, and these results are of {', '.join(sorted(ids))}"
        )
    out = Path(out)
    ledger = {
        "format": FORMAT,
        "training": training.as_dict(),
        "results": results.as_dict(),
        "baseline": None if baseline is None else baseline.as_dict(),
        "random": random.as_dict(),
        "attention": [attention.as_dict() for attention in attentions],
        "config": dict(config),
    }
    write_json(out.with_suffix(".json"), ledger)
    first, name, task = attentions[0], _policy_name(results), str(results.environment["id"])
    own, chance = _summary(results.get(TRAIN)), _summary(random.get(TRAIN))
    times_random = own["mean"] / chance["mean"] if own and chance and chance["mean"] > 0 else None
    ratios = {a.recording.condition: a.ratio for a in attentions if a.ratio is not None}
    return write_page(
        out,
        "demo.html.j2",
        title=f"foveal demo: {name} on {task}",
        name=name,
        task=task,
        duration=duration(training.seconds),
        hardware=_hardware(training.machine),
        training=training,
        own=own,
        privileged=results.policy.get("privileged", False),
        times_random=times_random,
        ratios=ratios,
        figures=_figures(own, times_random, ratios, training.seconds),
        conditions=results.conditions,
        returns=_return_table(rows),
        policies=[row.name for row in rows],
        intervals=[_return_chart(rows, width) for width in (WIDE, NARROW)],
        curves=[_curve(training.curve, chance, width) for width in (WIDE, NARROW)],
        seed=first.recording.episode.seed,
        guide=reading_guide([first]),
        precision=mask_table(attentions) if first.precision is not None else None,
        panels=panels([[attention] for attention in attentions], STILLS),
        ledger=out.with_suffix(".json").name,
        origins=[(row.name, {k: v for k, v in row.results.as_dict().items() if k != "perturbations"}) for row in rows],
        config=config,
    )


@dataclass(frozen=True)
class _Row:
    note: str
    results: Results

    @property
    def name(self) -> str:
        return _policy_name(self.results)


def _policy_name(results: Results) -> str:
    policy = results.policy
    if policy.get("method") is None:
        return f"{policy.get('name', 'unknown')} policy"
    method = str(policy["method"])
    return f"plain {str(policy.get('learner', '')).upper()}" if method == "none" else method.upper()


def _hardware(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    cores = machine.get("cores", "?")
    processor = f"{cores} core{'' if cores == 1 else 's'} of {machine.get('processor', 'this machine')}, no GPU"
    return f" on {machine.get('gpu') or processor}"


def _figures(
    own: Summary | None, times_random: float | None, ratios: Mapping[str, float], seconds: float
) -> list[tuple[str, str]]:
    """The most important numbers, and what they are."""
    pairs = []
    if own is not None:
        interval = f"{own['low']:.0f} to {own['high']:.0f}"
        pairs.append((f"return where trained, 95 % interval {interval}", f"{own['mean']:.0f}"))
    if times_random is not None:
        pairs.append(("the random policy's return", times(times_random)))
    for condition, ratio in list(ratios.items())[:1]:
        pairs.append((f"mask on the agent's own pixels, against chance ({condition})", times(ratio)))
    return [*pairs, ("of training", duration(seconds).replace("minutes", "min").replace("seconds", "s"))]


def _return_table(rows: Sequence[_Row]) -> Table:
    conditions = rows[0].results.conditions
    head: Line = ["mean return", *(Cell(c.perturbation, code=True, note=c.note) for c in conditions)]
    body: list[Line] = [
        [_policy_cell(row), *(_return_cell(row.results.get(c.perturbation), c) for c in conditions)] for row in rows
    ]
    qualities = sorted({c.quality for row in rows for c in row.results.conditions if c.quality})
    caption = f"Mean return, 95 % interval below it. Rendering: {', '.join(qualities)}."
    return Table(caption, head, body, "numbers returns")


def _policy_cell(row: _Row) -> Cell:
    policy = row.results.policy
    updates = f"{policy['updates']:,} updates" if isinstance(policy.get("updates"), int) else ""
    told = ", ".join(part for part in (row.note, updates, "privileged" * bool(policy.get("privileged"))) if part)
    return Cell(row.name, small=(told,) if told else ())


def _return_cell(condition: Condition | None, asked: Condition) -> str | Cell:
    if condition is None:
        return "not measured"
    told = condition.summary
    differs = condition.note != asked.note
    interval = f"{told['low']:.0f} to {told['high']:.0f}"
    return Cell(f"{told['mean']:.0f}", note=condition.note if differs else "", small=(interval,))


def _return_chart(rows: Sequence[_Row], width: int) -> Intervals:
    conditions = rows[0].results.conditions
    series = [(row.name, [_summary(row.results.get(c.perturbation)) for c in conditions]) for row in rows]
    return Intervals(width, [c.label for c in conditions], series, "return")


def _summary(condition: Condition | None) -> Summary | None:
    return None if condition is None else condition.summary


def _curve(curve: Curve, chance: Summary | None, width: int) -> LearningCurve:
    level = None if chance is None else ("random policy", chance["mean"])
    return LearningCurve(width, curve.episodes, curve.evaluations, level)
