"""Statistics over training runs: against numbers of rliable, formulae written plainly, closed forms and properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from foveal.errors import FovealError
from foveal.evaluation import over_runs
from foveal.evaluation.over_runs import (
    Scores,
    SeedEstimate,
    generalisation_gap,
    improvement,
    interquartile_mean,
    mean,
    optimality_gap,
    paired_difference,
    profile,
)

# (runs, tasks) of two methods. What rliable 1.2.0 (with arch 7.2.0 and scipy 1.17.1) says of them: 50,000 replicates of
# `get_interval_estimates` for the aggregates (mean, IQM, optimality gap), 20,000 for the probability of improvement and
# for `create_performance_profile`, all with `np.random.RandomState(0)` or the tool's own default.
X = [
    [0.418, 0.859, 0.565, 0.825, 0.812, 0.743],
    [0.957, 0.738, 0.602, 0.821, 0.637, 0.723],
    [0.326, 0.622, 0.954, 0.716, 0.266, 0.426],
    [0.9, 0.656, 0.574, 0.977, 0.741, 0.755],
    [0.572, 0.624, 0.898, 0.659, 0.784, 0.921],
]
Y = [
    [0.418, 0.659, 0.773, 0.426, 0.529, 0.224],
    [0.646, 0.8, 0.544, 0.327, 0.538, 0.51],
    [0.744, 0.669, 0.445, 0.349, 0.315, 0.437],
    [0.287, 0.569, 0.754, 0.569, 0.415, 0.448],
]
RLIABLE_X = {
    mean: (0.7023666666666667, 0.64, 0.7632666666666665),
    interquartile_mean: (0.716125, 0.6538734375, 0.7849390625),
    optimality_gap: (0.2976333333333335, 0.23673333333333346, 0.36),
}
RLIABLE_Y = {
    mean: (0.5164583333333334, 0.46795833333333325, 0.5640833333333334),
    interquartile_mean: (0.5065833333333334, 0.4495833333333333, 0.5660833333333333),
    optimality_gap: (0.48354166666666665, 0.4359166666666666, 0.5320416666666667),
}
RLIABLE_IMPROVEMENT = (0.7458333333333332, 0.6041666666666666, 0.875)
THRESHOLDS = [0.2, 0.4, 0.5, 0.6, 0.8]
RLIABLE_PROFILE = (
    [1.0, 0.9333333333333333, 0.8666666666666667, 0.7666666666666667, 0.3333333333333333],
    [1.0, 0.8333333333333334, 0.7666666666666667, 0.6333333333333333, 0.16666666666666666],
    [1.0, 1.0, 0.9666666666666667, 0.9, 0.5],
)
EVERY = [mean, interquartile_mean, optimality_gap]


def by_task(table: list[list[float]]) -> Scores:
    """Runs are rows; their seeds are 1, 2, ..."""
    return {f"task {t}": {s: row[t] for s, row in enumerate(table, 1)} for t in range(len(table[0]))}


def known(estimate: SeedEstimate) -> tuple[float, float, float]:
    assert estimate.interval is not None
    return estimate.value, *estimate.interval


@pytest.mark.parametrize("statistic", EVERY)
@pytest.mark.parametrize(("table", "theirs"), [(X, RLIABLE_X), (Y, RLIABLE_Y)])
def test_aggregates_are_rliables(statistic, table, theirs) -> None:
    told = statistic(by_task(table))
    assert_allclose(told.value, theirs[statistic][0], rtol=1e-12)
    assert_allclose(known(told), theirs[statistic], atol=0.003)  # their draws are others
    assert (told.runs, told.tasks, told.seeds) == (len(table) * 6, 6, len(table))


def test_probability_of_improvement_is_rliables() -> None:
    told = improvement(by_task(X), by_task(Y), replicates=10_000)
    assert_allclose(told.value, RLIABLE_IMPROVEMENT[0], rtol=1e-12)
    assert_allclose(known(told), RLIABLE_IMPROVEMENT, atol=0.01)
    assert (told.runs, told.tasks, told.seeds) == (54, 6, 4)


def test_profile_is_rliables() -> None:
    told = profile(by_task(X), THRESHOLDS, replicates=10_000)
    shares, low, high = RLIABLE_PROFILE
    assert_allclose(told.shares, shares, rtol=1e-12)
    assert_allclose(np.asarray(told.low), low, atol=1 / 30 + 1e-9)  # one run of thirty: quantiles of few values jump
    assert_allclose(np.asarray(told.high), high, atol=1 / 30 + 1e-9)


def test_formulae_written_plainly_with_other_numbers_of_seeds() -> None:
    scores: Scores = {"a": {1: 0.2, 2: 1.4, 5: 0.6}, "b": {1: 0.5, 2: 0.7}}
    others: Scores = {"a": {1: 0.3, 2: 1.4}, "b": {2: 0.1, 9: 0.9}}
    assert_allclose(mean(scores).value, ((0.2 + 1.4 + 0.6) / 3 + (0.5 + 0.7) / 2) / 2)
    assert_allclose(interquartile_mean(scores).value, scipy.stats.trim_mean([0.2, 1.4, 0.6, 0.5, 0.7], 0.25))
    assert_allclose(optimality_gap(scores).value, ((0.8 + 0 + 0.4) / 3 + (0.5 + 0.3) / 2) / 2)
    assert_allclose(profile(scores, [0.5]).shares, [(2 / 3 + 1 / 2) / 2])
    u_a = scipy.stats.mannwhitneyu([0.2, 1.4, 0.6], [0.3, 1.4]).statistic / 6
    u_b = scipy.stats.mannwhitneyu([0.5, 0.7], [0.1, 0.9]).statistic / 4
    assert_allclose(improvement(scores, others).value, (u_a + u_b) / 2)
    paired = paired_difference(scores, others)
    assert paired is not None
    assert_allclose(paired.value, ((0.2 - 0.3 + 0) / 2 + (0.7 - 0.1)) / 2)
    assert (paired.runs, paired.tasks, paired.seeds, paired.interval) == (3, 2, 1, None)


def test_intervals_are_all_that_can_be_drawn() -> None:
    """Two runs of each of two tasks have 16 equally likely draws, whose quantiles can be counted."""
    scores: Scores = {"a": {1: 0.0, 2: 1.0}, "b": {1: 0.0, 2: 4.0}}
    draws = [np.mean(a) / 2 + np.mean(b) / 2 for a in _draws(0, 1) for b in _draws(0, 4)]
    assert known(mean(scores))[1:] == (min(draws), max(draws)) == (0.0, 2.5)
    told = known(improvement(scores, {"a": {1: 0.5, 2: 0.5}, "b": {1: 5.0, 2: 5.0}}))
    assert told == (0.25, 0.0, 0.5)


def _draws(*values: float) -> list[tuple[float, ...]]:
    return list(itertools.product(values, repeat=2))


def test_pairing_takes_out_what_a_seed_does_to_both() -> None:
    random = np.random.default_rng(3)
    luck = random.normal(0, 100, size=8)
    ours: Scores = {"t": {s: 500 + luck[s] + 10 + random.normal(0, 1) for s in range(8)}}
    theirs: Scores = {"t": {s: 500 + luck[s] for s in range(8)}}
    paired = paired_difference(ours, theirs)
    assert paired is not None and paired.excludes_zero
    assert_allclose(paired.value, 10, atol=1.5)
    swapped: Scores = {"t": {7 - s: value for s, value in theirs["t"].items()}}
    crossed = paired_difference(ours, swapped)
    assert crossed is not None and not crossed.excludes_zero


def test_generalisation_gap() -> None:
    trained: Scores = {"a": {1: 800.0, 2: 900.0}, "b": {1: 400.0, 2: 300.0}}
    changed: Scores = {"a": {1: 400.0, 2: 500.0}, "b": {1: 200.0, 2: 100.0, 3: 7.0}}
    gap = generalisation_gap(trained, changed)
    assert gap is not None and gap.share is not None
    assert known(gap.points) == (300.0, 300.0, 300.0)  # every run of a loses 400, every run of b 200
    assert_allclose(gap.share.value, 300 / 600)
    assert_allclose(known(gap.share)[1:], (300 / 650, 300 / 550))  # both runs the better, both the worse
    assert generalisation_gap(trained, {"c": {1: 3.0}}) is None
    nothing = generalisation_gap({"a": {1: -1.0, 2: -2.0}}, {"a": {1: -3.0, 2: -3.0}})
    assert nothing is not None and nothing.share is None


@pytest.mark.parametrize("statistic", EVERY)
def test_one_seed_has_no_interval(statistic) -> None:
    for scores in ({"a": {1: 0.5}}, {"a": {1: 0.5, 2: 0.6}, "b": {1: 0.4}}):
        told = statistic(scores)
        assert told.interval is None and not told.excludes_zero
        assert told.as_dict()["low"] is None
    assert profile({"a": {1: 0.5}}, [0.1]).as_dict() == {
        "thresholds": [0.1],
        "shares": [1.0],
        "low": None,
        "high": None,
    }
    assert improvement({"a": {1: 0.5}}, {"a": {1: 0.4, 2: 0.3}}).interval is None


tables = st.lists(st.lists(st.floats(-5, 5), min_size=2, max_size=6), min_size=1, max_size=4).map(
    lambda rows: {f"t{i}": dict(enumerate(row)) for i, row in enumerate(rows)}
)


@pytest.mark.slow
@given(tables)
@settings(max_examples=25, deadline=None)
def test_properties_of_one_method(scores: Scores) -> None:
    values = [value for runs in scores.values() for value in runs.values()]
    for statistic in (mean, interquartile_mean):
        value, low, high = known(statistic(scores))
        slack = 1e-9
        assert min(values) - slack <= low <= high <= max(values) + slack
        assert min(values) - slack <= value <= max(values) + slack
    assert optimality_gap(scores).value >= -1e-12
    shares = profile(scores, np.linspace(-6, 6, 13), replicates=100)
    assert shares.shares[0] == 1 and shares.shares[-1] == 0
    assert (np.diff(shares.shares) <= 1e-12).all()
    assert shares.low is not None and shares.high is not None and (shares.low <= shares.high).all()


@given(tables, st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_properties_of_two_methods(scores: Scores, shift: int) -> None:
    others = {task: {seed: value - shift for seed, value in runs.items()} for task, runs in scores.items()}
    one = improvement(scores, others, replicates=100)
    other = improvement(others, scores, replicates=100)
    assert_allclose(one.value + other.value, 1)
    assert_allclose(one.complement.value, other.value)
    assert_allclose(known(one.complement)[1:], [1 - end for end in known(one)[:0:-1]])
    assert one.value >= 0.5
    paired = paired_difference(scores, others)
    assert paired is not None
    assert_allclose(known(paired), [shift] * 3, atol=1e-9)  # every run is better by the same


def test_draws_in_pieces_are_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counted(drawn: list[np.ndarray]) -> np.ndarray:
        counts.append(len(drawn[0]))
        return drawn[0].mean(axis=1)

    monkeypatch.setattr("foveal.evaluation.statistics._VALUES_AT_ONCE", 30)
    over_runs._bootstrap([np.array([1.0, 2.0, 3.0])], counted, 25, seed=0)
    assert counts == [1, 10, 10, 5]


def test_mistakes() -> None:
    with pytest.raises(FovealError, match="no task"):
        mean({})
    with pytest.raises(FovealError, match="no values"):
        mean({"a": {}})
    with pytest.raises(FovealError, match="finite"):
        mean({"a": {1: float("nan")}})
    with pytest.raises(FovealError, match="same tasks"):
        improvement({"a": {1: 1.0}}, {"b": {1: 1.0}})
