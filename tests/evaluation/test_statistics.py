"""Estimators against closed forms, scipy and rliable's conventions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from foveal.errors import FovealError
from foveal.evaluation.statistics import bootstrap_interval, iqm, optimality_gap, probability_of_improvement, summary

values = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=60)


@given(values)
@settings(max_examples=60, deadline=None)
def test_iqm_is_scipys_trimmed_mean(numbers: list[float]) -> None:
    assert_allclose(iqm(numbers), scipy.stats.trim_mean(numbers, 0.25), rtol=1e-9, atol=1e-9)


def test_iqm_closed_forms() -> None:
    assert iqm([0, 1, 2, 100]) == 1.5  # the outer two go
    assert iqm([7]) == 7
    assert iqm([1, 2, 9]) == 4  # a quarter of three rounds down to none
    table = np.random.default_rng(0).normal(size=(8, 5))
    assert_allclose(iqm(table), scipy.stats.trim_mean(table, 0.25, axis=None))
    assert_allclose(iqm(table, axis=0), scipy.stats.trim_mean(table, 0.25, axis=0))
    assert_allclose(iqm(table, axis=-1), scipy.stats.trim_mean(table, 0.25, axis=1))


def test_iqm_ignores_an_outlier_that_the_mean_follows() -> None:
    clean, spoilt = [10.0] * 9 + [11.0], [10.0] * 9 + [1000.0]
    assert iqm(clean) == iqm(spoilt) == 10
    assert np.mean(spoilt) > 100


def test_optimality_gap() -> None:
    assert_allclose(optimality_gap([0.5, 2.0], target=1.0), 0.25)  # the surplus of the second does not help
    assert optimality_gap([3.0, 4.0], target=1.0) == 0


def test_probability_of_improvement_against_mann_whitney() -> None:
    random = np.random.default_rng(1)
    ours, theirs = random.integers(0, 6, size=(7, 3)), random.integers(0, 6, size=(5, 3))
    expected = np.mean([scipy.stats.mannwhitneyu(ours[:, t], theirs[:, t]).statistic / 35 for t in range(3)])
    assert_allclose(probability_of_improvement(ours, theirs), expected)
    assert probability_of_improvement([1, 2], [1, 2]) == 0.5
    assert probability_of_improvement([3, 4], [1, 2]) == 1
    with pytest.raises(FovealError, match="same tasks"):
        probability_of_improvement(np.ones((2, 2)), np.ones((2, 3)))


def test_bootstrap_of_the_mean_approaches_the_normal_interval() -> None:
    sample = np.random.default_rng(2).normal(100, 20, size=400)
    low, high = bootstrap_interval(sample)
    error = sample.std() / np.sqrt(400)
    assert_allclose([low, high], sample.mean() + np.array([-1.96, 1.96]) * error, atol=0.15 * error)
    narrow = bootstrap_interval(sample, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_agrees_with_scipys_percentile_method() -> None:
    sample = np.random.default_rng(3).exponential(50, size=30)
    for statistic in (np.mean, iqm):
        theirs = scipy.stats.bootstrap((sample,), statistic, method="percentile", n_resamples=10_000, rng=1)
        spread = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert_allclose(bootstrap_interval(sample, statistic), theirs.confidence_interval, atol=0.03 * spread)


def test_bootstrap_is_stratified() -> None:
    # Two tasks without any spread inside them: every stratified replicate is the data, a pooled one is not.
    tasks = [np.full(5, 0.0), np.full(5, 1.0)]
    assert bootstrap_interval(tasks) == (0.5, 0.5)
    low, high = bootstrap_interval(np.concatenate(tasks))
    assert low < 0.4
    assert high > 0.6


def test_bootstrap_golden_and_seeded() -> None:
    sample = [0.0, 10.0, 20.0, 30.0, 40.0]
    assert bootstrap_interval(sample, seed=4) == bootstrap_interval(sample, seed=4)
    assert bootstrap_interval(sample, replicates=50) != bootstrap_interval(sample, replicates=50, seed=1)
    # The mean of five draws from {0..4} has variance 2/5, and the exact 2.5 % and 97.5 % quantiles are 0.8 and 3.2.
    assert bootstrap_interval(sample, replicates=100_000) == (8.0, 32.0)


def test_bootstrap_in_pieces_keeps_count_and_result(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def statistic(replicates: np.ndarray, axis: int) -> np.ndarray:
        seen.append(len(replicates))
        return replicates.mean(axis=axis)

    monkeypatch.setattr("foveal.evaluation.statistics._VALUES_AT_ONCE", 30)
    bootstrap_interval([1.0, 2.0, 3.0], statistic, replicates=25)
    assert seen == [10, 10, 5]


def test_summary_closed_form() -> None:
    told = summary([1.0, 2.0, 3.0, 4.0])
    assert (told["mean"], told["median"], told["iqm"], told["n"]) == (2.5, 2.5, 2.5, 4)
    assert_allclose(told["std"], np.sqrt(5 / 3))
    assert 1 < told["low"] < 2.5 < told["high"] < 4
    assert summary([5.0]) == {"mean": 5, "std": 0, "median": 5, "iqm": 5, "low": 5, "high": 5, "n": 1}


@given(values)
@settings(max_examples=25, deadline=None)
def test_summary_is_ordered(numbers: list[float]) -> None:
    told = summary(numbers)
    slack = 1e-6 * (1 + max(abs(x) for x in numbers))
    assert min(numbers) - slack <= told["low"] <= told["high"] <= max(numbers) + slack


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")]])
def test_bad_values_are_refused(bad: list[float]) -> None:
    for function in (summary, iqm, bootstrap_interval):
        with pytest.raises(FovealError, match="values"):
            function(bad)


def test_bad_bootstrap_arguments_are_refused() -> None:
    with pytest.raises(FovealError, match="confidence"):
        bootstrap_interval([1.0], confidence=1.0)
    with pytest.raises(FovealError, match="shape"):
        bootstrap_interval([np.ones((2, 2))])
