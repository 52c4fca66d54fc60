"""Metrics of saliency against closed forms, scipy, and the definitions written out slowly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.saliency.metrics import correlation, fixation_density, kl_divergence, nss, shuffled_auc, similarity

Map = NDArray[np.float64]
SHAPE = (12, 10)
PIXELS = 120

maps = arrays(np.float64, SHAPE, elements=st.floats(0, 1, width=16), fill=st.nothing())
counts = arrays(np.int64, SHAPE, elements=st.integers(0, 3), fill=st.nothing())


def one(row: int, column: int, shape: tuple[int, int] = SHAPE) -> Map:
    fixations = np.zeros(shape)
    fixations[row, column] = 1
    return fixations


def noise(seed: int = 0) -> Map:
    return np.random.default_rng(seed).random(SHAPE)


def some_fixations(seed: int = 1) -> Map:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(float)


def auc(saliency: Map, fixations: Map, others: Map, seed: int = 0, splits: int = 100) -> float:
    return shuffled_auc(saliency, fixations, others, generator=np.random.default_rng(seed), splits=splits)


# ---- a map equal to the fixations, a uniform one, a shuffled one


def test_a_map_equal_to_the_fixations() -> None:
    fixations = one(3, 4)
    density = fixation_density(fixations, sigma=2)
    # One pixel of N set: mean 1 / N, population variance (1 / N) (1 - 1 / N).
    assert_allclose(nss(fixations, fixations), np.sqrt(PIXELS - 1))
    assert_allclose(kl_divergence(density, density), 0, atol=1e-12)
    assert_allclose(correlation(density, density), 1)
    assert_allclose(similarity(density, density), 1)
    assert auc(fixations, fixations, one(8, 8)) == 1


def test_a_uniform_map() -> None:
    fixations = some_fixations()
    density = fixation_density(fixations, sigma=1)
    uniform = np.full(SHAPE, 0.3)
    assert np.isnan(nss(uniform, fixations))
    assert np.isnan(correlation(uniform, density))
    assert auc(uniform, fixations, some_fixations(2)) == 0.5
    entropy = -(density * np.log(density)).sum()
    assert_allclose(kl_divergence(uniform, density), np.log(PIXELS) - entropy)
    assert_allclose(similarity(uniform, density), np.minimum(density, 1 / PIXELS).sum())


def test_shuffled_maps_are_at_chance_on_average() -> None:
    saliency, fixations = noise(), some_fixations()
    density = fixation_density(fixations, sigma=1)
    shifts = [np.roll(saliency, (row, column), (0, 1)) for row in range(SHAPE[0]) for column in range(SHAPE[1])]
    # Over all shifts each pixel holds each value once.
    assert_allclose(np.mean([nss(shifted, fixations) for shifted in shifts]), 0, atol=1e-12)
    assert_allclose(np.mean([correlation(shifted, density) for shifted in shifts]), 0, atol=1e-12)
    areas = [auc(shifted, fixations, some_fixations(2)) for shifted in shifts]
    assert_allclose(np.mean(areas), 0.5, atol=0.01)
    assert np.std(areas) > 0.01  # and no map alone is


# ---- oracles


def test_nss_is_the_mean_z_score_at_the_fixations() -> None:
    saliency, fixations = noise(), some_fixations()
    scores = (saliency - saliency.mean()) / saliency.std()
    looked = [scores[r, c] for r, c in np.ndindex(SHAPE) for _ in range(int(fixations[r, c]))]
    assert_allclose(nss(saliency, fixations), np.mean(looked))


def test_correlation_is_numpys() -> None:
    saliency, density = noise(), fixation_density(some_fixations())
    assert_allclose(correlation(saliency, density), np.corrcoef(saliency.ravel(), density.ravel())[0, 1])


def test_kl_is_scipys_entropy_of_the_fixations_relative_to_the_map() -> None:
    saliency, density = noise() + 0.1, fixation_density(some_fixations(), sigma=1)
    assert_allclose(kl_divergence(saliency, density), scipy.stats.entropy(density.ravel(), saliency.ravel()))
    assert abs(kl_divergence(saliency, density) - kl_divergence(density, saliency)) > 0.01  # the direction matters


def test_similarity_of_maps_that_share_half() -> None:
    truth, saliency = np.zeros(SHAPE), np.zeros(SHAPE)
    truth[0, :4] = 1
    saliency[0, 2:6] = 7
    assert_allclose(similarity(saliency, truth), 0.5)
    assert similarity(saliency, one(5, 5)) == 0


def test_density_of_one_fixation_is_a_gaussian_of_sum_one() -> None:
    density = fixation_density(one(105, 80, (210, 160)))
    row, column = np.mgrid[:210, :160]
    distance = np.hypot(row - 105, column - 80)
    gaussian = np.exp(-0.5 * (distance / 5) ** 2) / (2 * np.pi * 25)
    assert_allclose(density.sum(), 1)
    assert_allclose(density[distance < 15], gaussian[distance < 15], rtol=1e-3)
    assert not fixation_density(np.zeros(SHAPE)).any()


def test_shuffled_auc_is_mann_whitneys_statistic_in_the_limit() -> None:
    saliency, fixations, others = np.round(noise(), 1), some_fixations(), some_fixations(2)  # rounded: ties
    positives = np.repeat(saliency.ravel(), fixations.ravel().astype(int))
    negatives = np.repeat(saliency.ravel(), others.ravel().astype(int))
    exact = scipy.stats.mannwhitneyu(positives, negatives).statistic / (len(positives) * len(negatives))
    assert_allclose(auc(saliency, fixations, others, splits=100_000), exact, atol=2e-4)


@pytest.mark.slow
def test_shuffled_auc_is_spread_like_the_mean_over_drawn_splits() -> None:
    saliency, fixations, others = noise(), some_fixations(), some_fixations(2)
    positives = np.repeat(saliency.ravel(), fixations.ravel().astype(int))
    pool = np.repeat(saliency.ravel(), others.ravel().astype(int))
    generator = np.random.default_rng(5)

    def slow(splits: int) -> float:
        areas = []
        for _ in range(splits):
            drawn = generator.choice(pool, len(positives))
            higher = positives[:, None] > drawn[None]
            areas.append((higher + 0.5 * (positives[:, None] == drawn[None])).mean())
        return float(np.mean(areas))

    defined, ours = [slow(5) for _ in range(400)], [auc(saliency, fixations, others, seed, 5) for seed in range(400)]
    assert_allclose(np.mean(ours), np.mean(defined), atol=4 * np.std(defined) / np.sqrt(200))
    assert_allclose(np.std(ours), np.std(defined), rtol=0.2)


def test_shuffled_auc_takes_where_people_look_anyway_out_of_the_score() -> None:
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    centre = np.exp(-((row - 6) ** 2 + (column - 5) ** 2) / 8)
    generator = np.random.default_rng(0)
    here, elsewhere = (generator.poisson(3 * centre).astype(float) for _ in range(2))
    assert nss(centre, here) > 1
    assert abs(auc(centre, here, elsewhere) - 0.5) < 0.08


# ---- properties


@given(maps, counts, counts, st.floats(0.5, 100), st.floats(0, 3))
@settings(max_examples=80)
@pytest.mark.slow
def test_scores_do_not_depend_on_the_scale_of_the_map(
    saliency: Map, fixations: Map, others: Map, factor: float, shift: float
) -> None:
    density = fixation_density(fixations, sigma=1)
    scaled = saliency * factor
    assert_allclose(kl_divergence(scaled, density), kl_divergence(saliency, density), rtol=1e-6, atol=1e-9)
    assert_allclose(similarity(scaled, density), similarity(saliency, density), rtol=1e-6)
    if saliency.std() > 1e-3:
        assert_allclose(nss(scaled + shift, fixations), nss(saliency, fixations), rtol=1e-6, atol=1e-9)
        assert_allclose(correlation(scaled + shift, density), correlation(saliency, density), rtol=1e-6, atol=1e-9)
    assert_allclose(auc(scaled, fixations, others), auc(saliency, fixations, others), rtol=1e-9)


@given(maps, counts, counts)
@settings(max_examples=80)
@pytest.mark.slow
def test_bounds_and_mirror_images(saliency: Map, fixations: Map, others: Map) -> None:
    density = fixation_density(fixations, sigma=1)
    assert not kl_divergence(saliency, density) < -1e-9
    assert not similarity(saliency, density) > 1 + 1e-9
    assert not abs(correlation(saliency, density)) > 1 + 1e-9
    area = auc(saliency, fixations, others)
    assert np.isnan(area) or 0 <= area <= 1
    assert_allclose(auc(-saliency, fixations, others), 1 - area, atol=1e-12)
    assert_allclose(nss(-saliency, fixations), -nss(saliency, fixations))


@given(maps, counts, st.randoms(use_true_random=False))
@settings(max_examples=50)
@pytest.mark.slow
def test_moving_map_and_fixations_alike_changes_nothing(saliency: Map, fixations: Map, random: object) -> None:
    order = np.random.default_rng(random.randrange(1000)).permutation(PIXELS)  # type: ignore[attr-defined]
    moved, looked = (x.ravel()[order].reshape(SHAPE) for x in (saliency, fixations))
    density = fixations / max(fixations.sum(), 1)
    moved_density = density.ravel()[order].reshape(SHAPE)
    assert_allclose(nss(moved, looked), nss(saliency, fixations), atol=1e-9)
    for metric in (kl_divergence, correlation, similarity):
        assert_allclose(metric(moved, moved_density), metric(saliency, density), atol=1e-9)


# ---- undefined, and refused


def test_undefined_without_fixations() -> None:
    nothing = np.zeros(SHAPE)
    for metric in (nss, kl_divergence, correlation, similarity):
        assert np.isnan(metric(noise(), nothing))
    assert np.isnan(auc(noise(), nothing, some_fixations()))
    assert np.isnan(auc(noise(), some_fixations(), nothing))


def test_kl_is_undefined_where_the_map_rules_a_fixation_out() -> None:
    saliency, density = np.ones(SHAPE), one(2, 2)
    saliency[2, 2] = 1e-9
    assert np.isnan(kl_divergence(saliency, density))
    saliency[2, 2] = 1e-3
    assert np.isfinite(kl_divergence(saliency, density))
    saliency[3, 3] = 0  # where nobody looked it may be zero
    assert np.isfinite(kl_divergence(saliency, density))
    assert np.isnan(kl_divergence(np.zeros(SHAPE), density))
    assert np.isnan(similarity(np.zeros(SHAPE), density))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nss(np.ones((3, 3)), np.ones((3, 4))), r"\(3, 3\).*\(3, 4\): resize"),
        (lambda: nss(np.ones(9), np.ones(9)), r"\(H, W\)"),
        (lambda: nss(np.full((3, 3), np.nan), np.ones((3, 3))), "saliency map must be finite"),
        (lambda: nss(np.ones((3, 3)), -np.ones((3, 3))), "fixations must not be negative"),
        (lambda: kl_divergence(-np.ones((3, 3)), np.ones((3, 3))), "saliency map must not be negative"),
        (lambda: similarity(-np.ones((3, 3)), np.ones((3, 3))), "saliency map must not be negative"),
        (lambda: fixation_density(np.full((3, 3), np.inf)), "fixations must be finite"),
        (lambda: auc(np.ones((3, 3)), np.full((3, 3), 0.5), np.ones((3, 3))), "whole numbers"),
        (lambda: auc(np.ones((3, 3)), np.ones((3, 3)), np.ones((3, 3)), splits=0), "at least one split"),
    ],
)
def test_bad_input(call: Callable[[], float], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        call()
