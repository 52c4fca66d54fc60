"""The page of ``foveal demo``: what was trained, what it is worth under visual change, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.evaluation import TRAIN
from foveal.report.attention import Attention
from foveal.report.charts import intervals, learning_curve, legend, responsive
from foveal.report.closing import footer, pre, provenance
from foveal.report.page import TIMES, Child, Html, definitions, details, element, table, write_page
from foveal.report.panels import attention_panel, mark, precision_table, reading_guide
from foveal.results import Condition, Results, write_json
from foveal.statistics import Summary

FORMAT = "foveal.demo/1"


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
        """JSON-able."""
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
        machine: as ``foveal.results.machine`` tells it, of the machine that trained.
        command: that repeats it, or None.
    """

    steps: int
    updates: int
    seconds: float
    curve: Curve = field(default_factory=Curve)
    machine: Mapping[str, Any] = field(default_factory=dict)
    command: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "steps": self.steps,
            "updates": self.updates,
            "seconds": self.seconds,
            "curve": self.curve.as_dict(),
            "machine": dict(self.machine),
            "command": self.command,
        }


def demo_page(
    out: str | Path,
    *,
    results: Results,
    random: Results,
    training: Training,
    attentions: Sequence[Attention],
    config: Mapping[str, Any],
    baseline: Results | None = None,
    stills: int = 5,
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
        stills: pictures per condition.

    Returns:
        The absolute path of the page.

    Raises:
        FovealError: the results are of different environments, or a file can't be written.
    """
    shipped = [] if baseline is None else [_Row("shipped result", baseline)]
    rows = [_Row("trained here", results), *shipped, _Row("", random)]
    _check_same_environment(rows)
    out = Path(out)
    write_json(out.with_suffix(".json"), _ledger(results, random, baseline, training, attentions, config))
    task = str(results.environment["id"])
    return write_page(
        out,
        f"foveal demo: {_policy_name(results)} on {task}",
        element("p", "foveal demo", class_="over"),
        element(
            "h1",
            f"{_policy_name(results)} on ",
            element("code", task),
            f", trained from pixels in {duration(training.seconds)}",
        ),
        element("p", _lede(results, random, training, attentions), class_="lede"),
        _figures(results, random, training, attentions),
        element("h2", "Returns under visual change"),
        element("p", _protocol(results)),
        _return_table(rows),
        _return_chart(rows),
        element("h2", "Learning curve"),
        _curve(training, random),
        element("h2", "What it looks at"),
        element("p", _attention_text(attentions)),
        reading_guide(attentions[0].saliency, attentions[0].quantile),
        precision_table(attentions) if attentions[0].precision is not None else None,
        [attention_panel([a], stills, f"episode-{index}") for index, a in enumerate(attentions)],
        element("h2", "Everything behind this page"),
        element(
            "p",
            "The same numbers, with every episode, are in ",
            element("code", out.with_suffix(".json").name),
            " beside it.",
        ),
        provenance(config, *_origins(rows, training)),
        footer(),
    )


def duration(seconds: float) -> str:
    """Rounded as one would say it: ``"42 seconds"``, ``"14 minutes"``, ``"3 h 20 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass(frozen=True)
class _Row:
    note: str
    results: Results

    @property
    def name(self) -> str:
        return _policy_name(self.results)

    def condition(self, perturbation: str) -> Condition | None:
        return self.results.get(perturbation)


def _policy_name(results: Results) -> str:
    policy = results.policy
    method, learner = policy.get("method"), str(policy.get("learner", "")).upper()
    if method is None:
        return f"{policy.get('name', 'unknown')} policy"
    return f"plain {learner}" if method == "none" else str(method).upper()


def _lede(results: Results, random: Results, training: Training, attentions: Sequence[Attention]) -> str:
    told = [
        f"{training.steps:,} agent steps and {training.updates:,} updates{_hardware(training.machine)}.",
    ]
    own = _summary(results.get(TRAIN))
    if own is not None:
        told.append(
            f"With unseen seeds its deterministic policy returns {own['mean']:.0f} where it was trained"
            f"{_times_random(results, random, ', {:.1f} times what a random policy gets')}."
        )
    seen = next((a for a in attentions if a.perturbation == TRAIN and a.ratio is not None), None)
    if seen is not None:
        told.append(f"Its mask lies on the agent's own pixels {seen.ratio:.1f} times as often as by chance.")
    return " ".join(told)


def _hardware(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    cores = machine.get("cores", "?")
    processor = f"{cores} core{'' if cores == 1 else 's'} of {machine.get('processor', 'this machine')}, no GPU"
    return f" on {machine.get('gpu') or processor}"


def _times_random(results: Results, random: Results, template: str) -> str:
    own, chance = _summary(results.get(TRAIN)), _summary(random.get(TRAIN))
    if own is None or chance is None or chance["mean"] <= 0:
        return ""
    return template.format(own["mean"] / chance["mean"])


def _figures(results: Results, random: Results, training: Training, attentions: Sequence[Attention]) -> Html:
    pairs: list[tuple[Child, Child]] = []
    own = _summary(results.get(TRAIN))
    if own is not None:
        pairs.append(
            (f"return where trained, 95 % interval {own['low']:.0f} to {own['high']:.0f}", f"{own['mean']:.0f}")
        )
    times = _times_random(results, random, "{:.1f}" + TIMES)
    if times:
        pairs.append(("the random policy's return", times))
    seen = next((a for a in attentions if a.ratio is not None), None)
    if seen is not None:
        pairs.append(
            (f"mask on the agent's own pixels, against chance ({seen.perturbation})", f"{seen.ratio:.1f}{TIMES}")
        )
    pairs.append(("of training", duration(training.seconds).replace("minutes", "min").replace("seconds", "s")))
    return definitions(pairs, class_="figures")


def _protocol(results: Results) -> str:
    generated = any(c.source == "generated" for c in results.conditions)
    partial = any(c.source == "dmc-gb" and not c.comparable for c in results.conditions)
    count = results.conditions[0].summary["n"]
    said = (
        f"Each number is the mean return of {count} episodes of the deterministic policy on seeds unseen in training, "
        "with a 95 % bootstrap interval over episodes. "
        "It is one training run: the interval does not cover the spread between runs."
    )
    if generated:
        said += (
            " Colours and videos marked “generated” are foveal's own imitation of the DMControl Generalization "
            "Benchmark, and returns on them are not comparable with published ones."
        )
    if partial:
        said += (
            " “20 of 100” and the like say how many of the benchmark's colours or videos were at hand; returns on a "
            "part of them are not comparable with published ones."
        )
    return said


def _return_table(rows: Sequence[_Row]) -> Html:
    conditions = rows[0].results.conditions
    head: list[Child] = ["mean return", *([element("code", c.perturbation), mark(c.note)] for c in conditions)]
    body = [[_policy_cell(row), *(_return_cell(row.condition(c.perturbation), c) for c in conditions)] for row in rows]
    qualities = sorted({c.quality for row in rows for c in row.results.conditions if c.quality})
    caption = f"Mean return, 95 % interval below it. Rendering: {', '.join(qualities)}."
    return table(caption, head, body, class_="numbers returns")


def _policy_cell(row: _Row) -> list[Child]:
    updates = row.results.policy.get("updates")
    told = ", ".join(part for part in (row.note, f"{updates:,} updates" if isinstance(updates, int) else "") if part)
    return [row.name, element("small", told) if told else None]


def _return_cell(condition: Condition | None, asked: Condition) -> Child:
    if condition is None:
        return "not measured"
    told = condition.summary
    differs = condition.note != asked.note
    interval = f"{told['low']:.0f} to {told['high']:.0f}"
    return [f"{told['mean']:.0f}", element("small", interval), mark(condition.note) if differs else None]


def _return_chart(rows: Sequence[_Row]) -> Html:
    conditions = rows[0].results.conditions
    series = [(row.name, [_summary(row.condition(c.perturbation)) for c in conditions]) for row in rows]
    names = [c.label for c in conditions]
    return element(
        "figure",
        legend([row.name for row in rows]),
        responsive(partial(intervals, names, series, "return")),
        element("figcaption", "The same numbers: a mark is the mean, a bar its 95 % interval."),
    )


def _summary(condition: Condition | None) -> Summary | None:
    return None if condition is None else condition.summary


def _curve(training: Training, random: Results) -> Html:
    chance = _summary(random.get(TRAIN))
    level = None if chance is None else ("random policy", chance["mean"])
    curve = training.curve
    draw = partial(learning_curve, curve.episodes, curve.evaluations, level)
    caption = (
        "Dots: training episodes, whose actions explore. Line: evaluations of the deterministic policy on the way, "
        "with 95 % intervals over episodes. Dashed: the random policy."
    )
    return element("figure", responsive(draw), element("figcaption", caption))


def _attention_text(attentions: Sequence[Attention]) -> str:
    return (
        "The pixels that the critic's value is most sensitive to, in one evaluation episode under each condition "
        f"(seed {attentions[0].episode.seed})."
    )


def _origins(rows: Sequence[_Row], training: Training) -> list[Html]:
    found = [
        details(
            f"Where the returns of {row.name} come from",
            pre({key: value for key, value in row.results.as_dict().items() if key != "perturbations"}),
        )
        for row in rows
    ]
    if training.command:
        found.insert(0, details("Command", element("pre", element("code", training.command))))
    return found


def _ledger(
    results: Results,
    random: Results,
    baseline: Results | None,
    training: Training,
    attentions: Sequence[Attention],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "training": training.as_dict(),
        "results": results.as_dict(),
        "baseline": None if baseline is None else baseline.as_dict(),
        "random": random.as_dict(),
        "attention": [attention.as_dict() for attention in attentions],
        "config": dict(config),
    }


def _check_same_environment(rows: Sequence[_Row]) -> None:
    ids = {str(row.results.environment.get("id")) for row in rows}
    if len(ids) > 1:
        raise FovealError(
            f"a demo compares policies on one environment, and these results are of {', '.join(sorted(ids))}"
        )
