"""SSIM of maps against its formula, written out place by place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.saliency.similarity import ssim


def plainly(one: NDArray[np.float64], other: NDArray[np.float64], side: int = 11) -> float:
    """Equation 13 of Wang et al. at every place of the window, of maps that reach from 0 to 1."""
    one, other = one / one.max(), other / other.max()
    middle = (side - 1) / 2
    weights = np.array(
        [[math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * 1.5**2)) for j in range(side)] for i in range(side)]
    )
    weights /= weights.sum()
    found = []
    for top in range(one.shape[0] - side + 1):
        for left in range(one.shape[1] - side + 1):
            x, y = (maps[top : top + side, left : left + side] for maps in (one, other))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            vxy = (weights * (x - mx) * (y - my)).sum()
            luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            found.append(luminance * (2 * vxy + 0.03**2) / (vx + vy + 0.03**2))
    return float(np.mean(found))


@settings(max_examples=15)
@given(st.integers(0, 2**31 - 1), st.integers(12, 20), st.integers(12, 20))
def test_it_is_what_the_formula_says(seed: int, height: int, width: int) -> None:
    draws = np.random.default_rng(seed)
    one, other = draws.random((2, 2, height, width)) * draws.uniform(0.1, 50)
    found = ssim(torch.from_numpy(one), torch.from_numpy(other))
    np.testing.assert_allclose(found, [plainly(a, b) for a, b in zip(one, other, strict=True)], atol=1e-9)


def test_the_window_is_as_large_as_a_small_map() -> None:
    one, other = np.random.default_rng(0).random((2, 1, 7, 9))
    found = ssim(torch.from_numpy(one), torch.from_numpy(other))
    assert found[0] == pytest.approx(plainly(one[0], other[0], 7))


def test_brightness_alone_makes_no_difference_and_the_opposite_is_unlike() -> None:
    maps = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(ssim(maps, 7 * maps), 1.0)
    assert (ssim(maps, 1 - maps) < 0).all()
    assert np.array_equal(ssim(maps, maps.flip(0)), ssim(maps.flip(0), maps))


def test_nothing_is_like_nothing() -> None:
    maps = torch.stack([torch.zeros(12, 12), torch.ones(12, 12)])
    assert np.isnan(ssim(maps, maps)).tolist() == [True, False]


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(FovealError, match=r"\(1, 12, 12\) and \(1, 12, 13\)"):
        ssim(torch.ones(1, 12, 12), torch.ones(1, 12, 13))
