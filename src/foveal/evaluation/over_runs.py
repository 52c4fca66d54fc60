"""Statistics over training runs: how a method does on tasks by several seeds of each, with intervals.

A run's score under one condition is one number, the mean over its episodes. Episodes of one run are no independent
evidence about a method, so nothing here looks at them. Scores are a mapping from tasks to the scores of their runs,
which are known by their seed. Estimators and the stratified bootstrap are those of Agarwal et al. 2021, "Deep
reinforcement learning at the edge of the statistical precipice", section 4 and appendix A: runs are resampled with
replacement within each task, tasks are not, so that an interval is about these tasks and other seeds.

Tasks weigh alike in means, whatever their number of runs; the interquartile mean pools all runs, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from foveal.errors import FovealError
from foveal.evaluation.statistics import REPLICATES, Array, finite, iqm, resampled

Scores: TypeAlias = Mapping[str, Mapping[int, float]]
"""Task -> seed of a run -> its score."""
FEWEST_SEEDS = 2
"""Of every task, for an interval: one value has no spread that could be resampled."""
TRUSTED_SEEDS = 5
"""With fewer, percentile intervals hold the truth less often than they say (Agarwal et al. 2021, appendix A.4)."""


@dataclass(frozen=True)
class SeedEstimate:
    """A number about a method, and how far other seeds might have moved it.

    Attributes:
        value: the number.
        low, high: its 95 % interval; None where a task has a single run, because then nothing is known of its spread.
        runs: how many it rests on.
        tasks: how many tasks these are of.
        seeds: the fewest runs of any of the tasks.
    """

    value: float
    low: float | None
    high: float | None
    runs: int
    tasks: int
    seeds: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """``low`` and ``high``, where there are such."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 lies outside it."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def complement(self) -> SeedEstimate:
        """Of a probability, that of the opposite."""
        ends = (None, None) if self.interval is None else (1.0 - self.interval[1], 1.0 - self.interval[0])
        return replace(self, value=1.0 - self.value, low=ends[0], high=ends[1])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Profile:
    """A performance profile: how large a share of the runs scores above each threshold.

    Attributes:
        thresholds: (T,) rising.
        shares: (T,) of runs whose score is greater, tasks weighing alike.
        low, high: (T,) 95 % bands, each threshold by itself; None where a task has a single run.
    """

    thresholds: Array
    shares: Array
    low: Array | None
    high: Array | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        found = asdict(self)
        return {name: None if values is None else values.tolist() for name, values in found.items()}


@dataclass(frozen=True)
class Gap:
    """What a change of the look costs: the trained look's score minus the changed look's, of the same policies.

    Attributes:
        points: the difference.
        share: of the trained look's mean score, the part that is lost; None where that mean is not positive.
    """

    points: SeedEstimate
    share: SeedEstimate | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"points": self.points.as_dict(), "share": None if self.share is None else self.share.as_dict()}


def mean(scores: Scores, *, seed: int = 0) -> SeedEstimate:
    """The mean over tasks of each task's mean over its runs.

    Raises:
        FovealError: there is no task or a task without a run, or a score is not finite. So say all functions here.
    """
    return _estimate(_strata(scores), _mean_of_means, seed)


def interquartile_mean(scores: Scores, *, seed: int = 0) -> SeedEstimate:
    """The mean of the middle half of all runs of all tasks (Agarwal et al. 2021, section 4.3)."""
    return _estimate(_strata(scores), lambda drawn: iqm(np.concatenate(drawn, axis=1), axis=1), seed)


def optimality_gap(scores: Scores, target: float = 1.0, *, seed: int = 0) -> SeedEstimate:
    """How far runs stay below ``target`` on average; what exceeds it makes up for nothing (ibid.)."""
    below = [np.maximum(target - stratum, 0.0) for stratum in _strata(scores)]
    return _estimate(below, _mean_of_means, seed)


def profile(scores: Scores, thresholds: ArrayLike, *, replicates: int = 2_000, seed: int = 0) -> Profile:
    """Run-score distribution with pointwise bands (Agarwal et al. 2021, section 4.2 and equation 2)."""
    levels = finite(thresholds)
    above = [(stratum[:, None] > levels).astype(np.float64) for stratum in _strata(scores)]
    shares, band = _bootstrap(above, _mean_of_means, replicates, seed)
    return Profile(levels, shares, *((None, None) if band is None else band))


def improvement(scores: Scores, others: Scores, *, replicates: int = 2_000, seed: int = 0) -> SeedEstimate:
    """P(X > Y): how probably a run of the one beats a run of the other on a task drawn at random.

    Ties count as half: the Mann-Whitney U statistic over its maximum, averaged over tasks (Agarwal et al. 2021, section
    4.3 and appendix A.3). The runs of both are resampled, independently of each other.

    Raises:
        FovealError: the tasks differ.
    """
    if scores.keys() != others.keys():
        raise FovealError(f"methods are compared on the same tasks, not on {sorted(scores)} and {sorted(others)}")
    strata = [*_strata(scores), *_strata({task: others[task] for task in scores})]
    return _estimate(strata, _probability, seed, replicates, tasks=len(scores))


def paired_difference(scores: Scores, others: Scores, *, seed: int = 0) -> SeedEstimate | None:
    """The mean over tasks of score minus score of the run of the same task and the same seed.

    The pairs are resampled within each task. Tasks and seeds that only one of the two has are left out.

    Returns:
        The estimate, whose ``runs`` are pairs; None where there is no pair.
    """
    pairs = {task: _pairs(runs, others.get(task, {})) for task, runs in scores.items()}
    strata = [np.asarray(both)[:, 0] - np.asarray(both)[:, 1] for both in pairs.values() if both]
    return _estimate(strata, _mean_of_means, seed) if strata else None


def generalisation_gap(trained: Scores, changed: Scores, *, seed: int = 0) -> Gap | None:
    """What the same policies lose under a changed look; runs that have not seen both are left out.

    Returns:
        The gap in points of return and as a share, both from the same resampled runs; None where no run has seen both.
    """
    pairs = {task: _pairs(runs, changed.get(task, {})) for task, runs in trained.items()}
    strata = [np.asarray(both) for both in pairs.values() if both]
    if not strata:
        return None
    points = _estimate([both[:, 0] - both[:, 1] for both in strata], _mean_of_means, seed)
    positive = _mean_of_means([both[None] for both in strata])[0, 0] > 0
    return Gap(points, _estimate(strata, _lost_share, seed) if positive else None)


def _pairs(runs: Mapping[int, float], others: Mapping[int, float]) -> list[tuple[float, float]]:
    return [(value, others[seed]) for seed, value in runs.items() if seed in others]


def _strata(scores: Scores) -> list[Array]:
    """(runs,) for each task."""
    if not scores:
        raise FovealError("there is no task to take statistics of")
    return [finite(list(runs.values())) for runs in scores.values()]


# --- statistics of drawn runs: tasks of (replicates, runs, ...) -> (replicates, ...) ----------------------------------

Draws: TypeAlias = Sequence[Array]
Statistic: TypeAlias = Callable[[Draws], Array]


def _mean_of_means(drawn: Draws) -> Array:
    return np.mean([runs.mean(axis=1) for runs in drawn], axis=0)


def _lost_share(drawn: Draws) -> Array:
    trained, changed = np.moveaxis(_mean_of_means(drawn), -1, 0)
    return 1.0 - changed / trained


def _probability(drawn: Draws) -> Array:
    """Of the first half of the strata, one for each task, against the second."""
    half = len(drawn) // 2
    return np.mean([_above(ours, theirs) for ours, theirs in zip(drawn[:half], drawn[half:], strict=True)], axis=0)


def _above(ours: Array, theirs: Array) -> Array:
    """(replicates,) share of pairs in which the first is greater, ties counting as half."""
    difference = ours[:, :, None] - theirs[:, None, :]
    return (0.5 + 0.5 * np.sign(difference)).mean(axis=(1, 2))


# --- the bootstrap ----------------------------------------------------------------------------------------------------


def _estimate(
    strata: Sequence[Array], statistic: Statistic, seed: int, replicates: int = REPLICATES, *, tasks: int | None = None
) -> SeedEstimate:
    value, interval = _bootstrap(strata, statistic, replicates, seed)
    low, high = (None, None) if interval is None else (float(interval[0]), float(interval[1]))
    counts = [len(stratum) for stratum in strata]
    return SeedEstimate(float(value), low, high, sum(counts), len(strata) if tasks is None else tasks, min(counts))


def _bootstrap(
    strata: Sequence[Array], statistic: Statistic, replicates: int, seed: int
) -> tuple[Array, tuple[Array, Array] | None]:
    """A statistic of the runs, and its percentile interval, stratified by task.

    Args:
        strata: (runs, ...) for each task.
        statistic: of drawn runs.
        replicates: how often runs are drawn.
        seed: of the draws.

    Returns:
        The statistic, and low and high of its shape; None for these where a task has a single run.
    """
    value = statistic([stratum[None] for stratum in strata])[0]
    if min(len(stratum) for stratum in strata) < FEWEST_SEEDS:
        return value, None
    return value, resampled(strata, statistic, replicates=replicates, seed=seed)
