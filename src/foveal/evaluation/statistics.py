"""Statistics of returns: robust averages, and intervals that say how far to trust them.

The estimators are those of Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice",
and agree with their reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import FovealError

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[..., Any]
"""Reduces an array along ``axis``, as ``numpy.mean``, ``numpy.median``, ``iqm`` and ``optimality_gap`` do."""

CONFIDENCE = 0.95
REPLICATES = 10_000
_VALUES_AT_ONCE = 2_000_000  # bounds the memory of a bootstrap to some 16 MB


class Summary(TypedDict):
    """The numbers that a table has of a set of returns.

    Attributes:
        mean, std, median, iqm: of the values; ``std`` is that of a sample (n - 1), 0 for one value.
        low, high: 95 % percentile bootstrap interval of the mean. With one value both are that value.
        n: how many values there were.
    """

    mean: float
    std: float
    median: float
    iqm: float
    low: float
    high: float
    n: int


def summary(returns: ArrayLike, *, seed: int = 0) -> Summary:
    """Mean, spread, robust averages and the 95 % interval of the mean.

    Args:
        returns: (n,) one return per episode, or one score per run.
        seed: of the bootstrap, so that the same returns always give the same interval.

    Raises:
        FovealError: there is no value, or one is not finite.
    """
    values = finite(returns).ravel()
    low, high = bootstrap_interval(values, seed=seed)
    return Summary(
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if values.size > 1 else 0.0,
        median=float(np.median(values)),
        iqm=float(iqm(values)),
        low=low,
        high=high,
        n=int(values.size),
    )


@dataclass(frozen=True)
class SuccessRate:
    """How often something succeeds, and how far to trust that; of episodes that are independent of each other.

    Attributes:
        successes: episodes that ended well.
        episodes: all of them.
        rate: their ratio.
        low, high: Wilson's 95 % interval, which holds also where none or all succeed.
    """

    successes: int
    episodes: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, outcomes: Sequence[bool]) -> SuccessRate:
        """Of single episodes.

        Raises:
            FovealError: there is none.
        """
        if not outcomes:
            raise FovealError("there is no episode to take a success rate of")
        from scipy.stats import binomtest  # takes a second, which every command would spend

        successes = sum(map(bool, outcomes))
        interval = binomtest(successes, len(outcomes)).proportion_ci(CONFIDENCE, "wilson")
        return cls(successes, len(outcomes), successes / len(outcomes), float(interval.low), float(interval.high))

    def __str__(self) -> str:
        return (
            f"{self.successes} of {self.episodes}, {100 * self.rate:.0f} % (95 %: {100 * self.low:.0f} to "
            f"{100 * self.high:.0f})"
        )


def iqm(values: ArrayLike, axis: int | None = None) -> Any:
    """Interquartile mean: the mean of what is left after a quarter of the values is cut from either end.

    The number cut is rounded down, as in ``scipy.stats.trim_mean(values, 0.25)``.

    Args:
        values: scores, e.g. (runs, tasks); with ``axis`` None all of them are pooled.

    Raises:
        FovealError: there is no value, or one is not finite.
    """
    array = finite(values)
    if axis is None:
        array, axis = array.ravel(), 0
    count = array.shape[axis]
    cut = count // 4
    ordered = np.partition(array, (cut, count - cut - 1), axis=axis)
    return ordered.take(range(cut, count - cut), axis=axis).mean(axis=axis)


def optimality_gap(values: ArrayLike, target: float = 1.0, axis: int | None = None) -> Any:
    """How far the values stay below ``target`` on average; what exceeds the target does not make up for the rest."""
    return target - np.minimum(finite(values), target).mean(axis=axis)


def probability_of_improvement(scores: ArrayLike, others: ArrayLike) -> float:
    """P(X > Y) averaged over tasks, ties counted as half: the Mann-Whitney U statistic over its maximum.

    Args:
        scores: (runs,) or (runs, tasks) of the one algorithm.
        others: the same of the other; the number of runs may differ, the tasks may not.

    Raises:
        FovealError: the numbers of tasks differ, a table is empty, or a value is not finite.
    """
    ours, theirs = (finite(x).reshape(len(np.atleast_1d(x)), -1) for x in (scores, others))
    if ours.shape[1] != theirs.shape[1]:
        raise FovealError(
            f"probability_of_improvement compares the same tasks: got {ours.shape[1]} and {theirs.shape[1]} of them"
        )
    difference = ours[:, None] - theirs[None]  # (runs, other runs, tasks)
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def bootstrap_interval(
    values: ArrayLike | Sequence[ArrayLike],
    statistic: Statistic = np.mean,
    *,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic, stratified by task.

    Each stratum is resampled with replacement on its own, so a replicate holds as many values of every task as the
    data; the statistic is taken over all of them pooled.

    Args:
        values: (n,) for one stratum, or a sequence of such arrays, one per task, lengths free.
        statistic: reduces (replicates, total) along ``axis=-1``.
        confidence: probability mass of the interval, in (0, 1).
        replicates: number of resamples.
        seed: of the resampling.

    Returns:
        (low, high).

    Raises:
        FovealError: there is no value, one is not finite, or ``confidence`` or ``replicates`` is out of range.
    """
    if not 0 < confidence < 1 or replicates < 1:
        raise FovealError(
            f"a bootstrap wants a confidence in (0, 1) and at least one replicate, not {confidence} and {replicates}"
        )
    strata = _strata(values)
    low, high = resampled(
        strata,
        lambda drawn: np.asarray(statistic(np.concatenate(drawn, axis=1), axis=-1)),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )
    return float(low), float(high)


def resampled(
    strata: Sequence[Array],
    statistic: Callable[[Sequence[Array]], Array],
    *,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Ends of the percentile interval of a statistic of strata, each resampled from itself with replacement.

    Args:
        strata: (runs, ...) for each.
        statistic: of drawn strata, (replicates, runs, ...) each, to (replicates, ...).
        confidence, replicates, seed: see ``bootstrap_interval``.

    Returns:
        Low and high, (...) each.
    """
    random = np.random.default_rng(seed)
    at_once = max(1, _VALUES_AT_ONCE // sum(stratum.size for stratum in strata))
    counts = [min(at_once, replicates - start) for start in range(0, replicates, at_once)]
    estimates = [
        statistic([stratum[random.integers(len(stratum), size=(count, len(stratum)))] for stratum in strata])
        for count in counts
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(estimates), (tail, 1 - tail), axis=0)
    return low, high


def _strata(values: ArrayLike | Sequence[ArrayLike]) -> list[Array]:
    items = list(values) if isinstance(values, (list, tuple)) else [np.asarray(values)]
    if items and all(np.ndim(item) == 0 for item in items):
        items = [np.asarray(items)]
    strata = [finite(item) for item in items]
    if not strata or any(stratum.ndim != 1 for stratum in strata):
        raise FovealError("a bootstrap wants values of shape (n,), or a list of such arrays, one per task")
    return strata


def finite(values: ArrayLike) -> Array:
    """Values as an array of float64.

    Raises:
        FovealError: there is none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise FovealError("there are no values to take statistics of")
    if not np.isfinite(array).all():
        raise FovealError("statistics want finite values, and at least one is NaN or infinite")
    return array
