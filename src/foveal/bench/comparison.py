"""From rows of a ledger to what a report tells: numbers by suite, look, policy and task, all over training seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from foveal.bench.scales import Scale, scale_of
from foveal.bench.scores import Ledger, Look, Score
from foveal.evaluation import over_runs
from foveal.evaluation.over_runs import Gap, Profile, SeedEstimate
from foveal.evaluation.world import TRAIN
from foveal.progress import watched

TaskScores = dict[str, dict[int, float]]
THRESHOLDS = 51


@dataclass(frozen=True)
class Aggregate:
    """A policy over all tasks of a suite, on the common scale.

    Attributes:
        iqm, mean, gap: interquartile mean, mean, and optimality gap to 1.
    """

    iqm: SeedEstimate
    mean: SeedEstimate
    gap: SeedEstimate

    @classmethod
    def of(cls, scores: TaskScores) -> Aggregate:
        """Of runs on the common scale."""
        return cls(
            over_runs.interquartile_mean(scores), over_runs.mean(scores), over_runs.optimality_gap(scores, target=1.0)
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        estimates = {"iqm": self.iqm, "mean": self.mean, "optimality_gap": self.gap}
        return {name: estimate.as_dict() for name, estimate in estimates.items()}


@dataclass(frozen=True)
class LookReport:
    """The numbers of a suite under one look.

    Attributes:
        look: colours, videos and rendering.
        scores: the rows that it rests on.
        tasks: ids, in order.
        policies: names, in order.
        returns: policy -> task -> mean return over seeds.
        scaled: policy -> task -> seed -> score on the common scale, of tasks that have one.
        aggregates: policy -> over tasks; of policies with runs of every task alone.
        profiles: of the same.
        improvement: (policy, other) -> P(a run of the one beats one of the other), on the tasks of both.
        gaps: policy -> what the look costs it against the trained look; empty for the trained look itself.
        differences: policy -> its score minus the baseline's, paired by task and seed; empty without a baseline.
    """

    look: Look
    scores: tuple[Score, ...]
    tasks: tuple[str, ...]
    policies: tuple[str, ...]
    returns: Mapping[str, Mapping[str, SeedEstimate]]
    scaled: Mapping[str, TaskScores]
    aggregates: Mapping[str, Aggregate]
    profiles: Mapping[str, Profile]
    improvement: Mapping[tuple[str, str], SeedEstimate]
    gaps: Mapping[str, Gap | None] = field(default_factory=dict)
    differences: Mapping[str, SeedEstimate | None] = field(default_factory=dict)

    @cached_property
    def scaled_tasks(self) -> list[str]:
        """Those on the common scale that any policy has."""
        return [task for task in self.tasks if any(task in scores for scores in self.scaled.values())]

    @property
    def ranking(self) -> list[str]:
        """Policies with an aggregate, best interquartile mean first."""
        return sorted(self.aggregates, key=lambda name: -self.aggregates[name].iqm.value)

    def difference(self, policy: str, other: str) -> SeedEstimate | None:
        """Score minus score on the common scale, paired by task and seed; None where there is no pair."""
        return over_runs.paired_difference(self.scaled.get(policy, {}), self.scaled.get(other, {}))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        pairs = [{"policy": a, "other": b, **estimate.as_dict()} for (a, b), estimate in self.improvement.items()]
        return {
            "perturbation": self.look.perturbation,
            "note": self.look.note,
            "quality": self.look.quality,
            "tasks": list(self.tasks),
            "returns": {name: _as_dicts(by_task) for name, by_task in self.returns.items()},
            "scaled_runs": {
                name: {task: {str(seed): value for seed, value in runs.items()} for task, runs in by_task.items()}
                for name, by_task in self.scaled.items()
            },
            "aggregates": _as_dicts(self.aggregates),
            "profiles": _as_dicts(self.profiles),
            "probability_of_improvement": pairs,
            "generalisation_gap": _as_dicts(self.gaps),
            "paired_difference": _as_dicts(self.differences),
        }


@dataclass(frozen=True)
class SuiteReport:
    """The numbers of one suite.

    Attributes:
        name: None for runs of no suite.
        looks: the trained look first.
        policies: names, in order.
        tasks: ids, in order.
        scales: task -> how its returns are put on the common scale, or why they are not.
        marks: policy -> what tables say beside its name.
        baseline: that ``differences`` are from, None without one.
    """

    name: str | None
    looks: tuple[LookReport, ...]
    policies: tuple[str, ...]
    tasks: tuple[str, ...]
    scales: Mapping[str, Scale | str]
    marks: Mapping[str, tuple[str, ...]]
    baseline: str | None = None

    @property
    def title(self) -> str:
        """As headings say it."""
        return self.name or "Runs of no suite"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        scales = {task: scale if isinstance(scale, str) else scale.says for task, scale in self.scales.items()}
        return {
            "suite": self.name,
            "policies": {policy: list(self.marks[policy]) for policy in self.policies},
            "tasks": scales,
            "baseline": self.baseline,
            "looks": [look.as_dict() for look in self.looks],
        }


def _as_dicts(by_name: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if thing is None else thing.as_dict() for name, thing in by_name.items()}


def compare(
    ledger: Ledger,
    known: Mapping[str, tuple[float, str]],
    baseline: str | None = None,
    *,
    progress: bool = False,
) -> tuple[SuiteReport, ...]:
    """The report of every suite of a ledger, the largest first.

    Args:
        ledger: as read.
        known: references of tasks, see ``foveal.bench.scales.references``.
        baseline: name of a policy.
        progress: show a bar.
    """
    rows = Counter(score.run.suite for score in ledger.scores)
    return tuple(_suite(name, ledger, known, baseline, progress) for name, _ in rows.most_common())


def _suite(
    name: str | None, ledger: Ledger, known: Mapping[str, tuple[float, str]], baseline: str | None, progress: bool
) -> SuiteReport:
    scores = [score for score in ledger.scores if score.run.suite == name]
    tasks = tuple(sorted({score.run.task for score in scores}))
    scales = {
        task: scale_of(name, task, [score for score in scores if score.run.task == task], ledger, known)
        for task in tasks
    }
    here = baseline if any(score.policy == baseline for score in scores) else None
    looks: list[LookReport] = []
    ordered = _ordered(scores)
    for look in watched(ordered, len(ordered), f"compare {name or 'runs'}", visible=progress, unit="look"):
        under = [score for score in scores if score.look == look]
        looks.append(_look(look, under, scales, _trained(looks, look), here))
    policies = tuple(sorted({score.policy for score in scores}))
    return SuiteReport(name, tuple(looks), policies, tasks, scales, _marks(scores), here)


def _ordered(scores: Sequence[Score]) -> list[Look]:
    """The trained look first, the others as they were evaluated."""
    met = list(dict.fromkeys(score.look for score in scores))
    return sorted(met, key=lambda look: (look.perturbation != TRAIN, met.index(look)))


def _trained(looks: Sequence[LookReport], look: Look) -> LookReport | None:
    """The trained look in the same rendering."""
    if look.perturbation == TRAIN:
        return None
    return next((r for r in looks if r.look.perturbation == TRAIN and r.look.quality == look.quality), None)


def _marks(scores: Sequence[Score]) -> dict[str, tuple[str, ...]]:
    marks: dict[str, tuple[str, ...]] = {}
    for score in scores:
        said = [("privileged", score.privileged), ("behind a shield", score.shielded)]
        found = (*marks.get(score.policy, ()), *(text for text, holds in said if holds))
        marks[score.policy] = tuple(dict.fromkeys(found))
    return marks


def _look(
    look: Look,
    scores: Sequence[Score],
    scales: Mapping[str, Scale | str],
    trained: LookReport | None,
    baseline: str | None,
) -> LookReport:
    tasks = tuple(sorted({score.run.task for score in scores}))
    policies = tuple(sorted({score.policy for score in scores}))
    raw = {p: _runs(scores, p, lambda score: score.value) for p in policies}
    scaled = {p: _runs(scores, p, lambda score: _scaled(score, scales)) for p in policies}
    wanted = {task for runs in scaled.values() for task in runs}
    whole = {policy: runs for policy, runs in scaled.items() if runs and runs.keys() == wanted}
    thresholds = _thresholds(whole)
    report = LookReport(
        look=look,
        scores=tuple(scores),
        tasks=tasks,
        policies=policies,
        returns={policy: {t: over_runs.mean({t: runs[t]}) for t in tasks if t in runs} for policy, runs in raw.items()},
        scaled=scaled,
        aggregates={policy: Aggregate.of(runs) for policy, runs in whole.items()},
        profiles={policy: over_runs.profile(runs, thresholds) for policy, runs in whole.items()},
        improvement=_improvement(scaled),
        gaps={p: over_runs.generalisation_gap(trained.scaled.get(p, {}), scaled[p]) for p in policies}
        if trained
        else {},
    )
    if baseline is None:
        return report
    against = {policy: report.difference(policy, baseline) for policy in policies if policy != baseline}
    return replace(report, differences=against)


def _runs(scores: Sequence[Score], policy: str, number: Callable[[Score], float | None]) -> TaskScores:
    found: TaskScores = {}
    for score in scores:
        if score.policy == policy and (value := number(score)) is not None:
            found.setdefault(score.run.task, {})[score.run.seed] = value
    return found


def _scaled(score: Score, scales: Mapping[str, Scale | str]) -> float | None:
    scale = scales[score.run.task]
    return scale(score) if isinstance(scale, Scale) else None


def _thresholds(scores: Mapping[str, TaskScores]) -> Any:
    values = [value for runs in scores.values() for by_seed in runs.values() for value in by_seed.values()]
    return np.linspace(min([0.0, *values]), max([1.0, *values]), THRESHOLDS)


def _improvement(scaled: Mapping[str, TaskScores]) -> dict[tuple[str, str], SeedEstimate]:
    found = {}
    for one, other in combinations(scaled, 2):
        tasks = scaled[one].keys() & scaled[other].keys()
        if tasks:
            ours, theirs = ({task: scaled[name][task] for task in sorted(tasks)} for name in (one, other))
            found[one, other] = over_runs.improvement(ours, theirs)
            found[other, one] = found[one, other].complement
    return found
