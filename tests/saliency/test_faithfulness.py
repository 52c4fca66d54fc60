"""Deletion and insertion where the important pixels are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency import gradient
from foveal.saliency.faithfulness import deletion, insertion, shifted, top
from small_networks import SIDE, Small, observations

PART = (slice(None), slice(4, 10), slice(6, 14))  # 48 of 576 pixels


def scene() -> tuple[Tensor, Tensor]:
    """Noise, and a map that is right about ``linear``."""
    strength = torch.zeros(2, SIDE, SIDE)
    strength[PART] = 1.0
    return observations(), strength


def linear(obs: Tensor) -> Tensor:
    """What lies in ``PART`` of the first channel, with its pixels' signs so that no mean is kept by a blur."""
    return obs[:, 0][PART].sum((1, 2))


def grey(obs: Tensor) -> Tensor:
    return torch.zeros_like(obs)


def test_the_pixels_of_a_linear_function_kill_it_and_bring_it_back() -> None:
    obs, strength = scene()
    gone = deletion(linear, obs, strength, steps=12, baseline=grey(obs))  # 48 pixels a step
    assert gone.kept[0] == 1.0 and np.abs(gone.kept[1:]).max() < 1e-6
    assert gone.area == pytest.approx(0.5 / 12)
    back = insertion(linear, obs, strength, steps=12, baseline=grey(obs))
    assert back.kept[0] == 0.0 and np.abs(back.kept[1:] - 1).max() < 1e-6 and back.area == pytest.approx(1 - 0.5 / 12)


def test_of_one_important_pixel_after_the_other_the_curve_is_the_sum_that_is_left() -> None:
    """Classic deletion by hand: f(x) = sum of w x, over f(x)."""
    obs = torch.ones(1, 1, 2, 2)
    weights = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    curve = deletion(lambda x: (x * weights).sum((1, 2, 3)), obs, weights[None], steps=4, baseline=grey(obs))
    assert curve.kept.tolist() == pytest.approx([1.0, 0.6, 0.3, 0.1, 0.0])
    assert curve.area == pytest.approx((1 / 2 + 0.6 + 0.3 + 0.1) / 4)


def test_a_random_map_and_one_moved_elsewhere_are_worse() -> None:
    obs, strength = scene()
    true = [measured(linear, obs, strength, baseline=grey(obs)) for measured in (deletion, insertion)]
    others = torch.rand(strength.shape, generator=torch.Generator().manual_seed(0)), shifted(strength)
    for other in others:
        assert deletion(linear, obs, other, baseline=grey(obs)).area > true[0].area + 0.2
        assert insertion(linear, obs, other, baseline=grey(obs)).area < true[1].area - 0.2


def test_of_vectors_distances_count() -> None:
    obs, strength = scene()
    one, other = (
        deletion(fn, obs, strength) for fn in (linear, lambda x: torch.stack([3 * linear(x), -4 * linear(x)], 1))
    )
    np.testing.assert_allclose(other.moved, 5 * one.moved, rtol=1e-4)
    np.testing.assert_allclose(other.kept, one.kept, rtol=1e-4, atol=1e-6)


def test_observations_that_have_nothing_to_lose_do_not_count() -> None:
    obs, strength = scene()
    obs[1] = 128.0
    both, alone = deletion(linear, obs, strength), deletion(linear, obs[:1], strength[:1])
    np.testing.assert_allclose(both.kept, alone.kept, atol=1e-4)
    assert np.isnan(deletion(lambda x: 0 * linear(x), obs, strength).area)


def test_gradients_of_a_network_are_better_than_gradients_elsewhere() -> None:
    network, obs = Small(), observations(8)
    fn = lambda x: network(x)[:, 0]  # noqa: E731
    strength = gradient(fn, obs).abs().amax(1)
    assert deletion(fn, obs, strength).area < deletion(fn, obs, shifted(strength)).area


@pytest.mark.slow
@given(st.integers(1, 30), st.integers(0, 99))
@settings(max_examples=30)
def test_curves_begin_and_end_where_they_must(steps: int, seed: int) -> None:
    obs = observations(2, side=9, seed=seed)
    strength = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(seed))
    fn = lambda x: x[:, 0, 2:5, 2:5].square().mean((1, 2))  # noqa: E731
    gone, back = deletion(fn, obs, strength, steps=steps), insertion(fn, obs, strength, steps=steps)
    assert len(gone.shares) == steps + 1 and gone.shares[[0, -1]].tolist() == [0.0, 1.0]
    assert (gone.kept[0], gone.kept[-1]) == (1.0, pytest.approx(0.0))
    assert (back.kept[0], back.kept[-1]) == (pytest.approx(0.0), 1.0)


@given(st.floats(0, 1), st.booleans())
def test_the_top_has_exactly_its_share_also_of_ties(share: float, even: bool) -> None:
    strength = torch.ones(2, 8, 9) if even else torch.rand(2, 8, 9)
    kept = top(strength, share)
    assert kept.sum((1, 2)).tolist() == [round(share * 72)] * 2
    if not even and 0 < kept[0].sum() < 72:
        assert strength[0][kept[0]].min() >= strength[0][~kept[0]].max()


def test_a_map_elsewhere_is_the_same_map_at_least_a_quarter_away() -> None:
    point = torch.zeros(40, 20, 16)
    point[:, 0, 0] = 1.0
    moved = shifted(point)
    assert moved.sum((1, 2)).eq(1).all()
    places = moved.flatten(1).argmax(1)
    rows, columns = places // 16, places % 16
    assert rows.min() >= 5 and rows.max() <= 15 and columns.min() >= 4 and columns.max() <= 12
    assert len(set(places.tolist())) > 10


def test_what_does_not_fit_is_refused() -> None:
    obs, strength = scene()
    for pixels, strengths, steps in ((obs, strength[:1], 3), (obs, strength, 0), (obs[0], strength, 3)):
        with pytest.raises(FovealError, match="at least one step"):
            deletion(linear, pixels, strengths, steps=steps)
