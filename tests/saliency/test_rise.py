"""RISE on functions whose important pixels are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.rise import rise
from small_networks import SIDE, observations


def corner(x: Tensor) -> Tensor:
    return x[:, 0, :8, :8].mean((1, 2))


def bright() -> Tensor:
    obs = torch.zeros(2, 3, SIDE, SIDE)
    obs[:, :, :8, :8] = 200.0
    return obs


def test_it_is_high_where_keeping_pixels_raises_the_value() -> None:
    found = rise(corner, bright())
    assert found.shape == (2, 1, SIDE, SIDE)
    inside, outside = found[:, 0, :6, :6], found[:, 0, 12:, 12:]
    assert inside.min() > 0 and inside.mean() > 5 * outside.abs().mean()
    assert rise(lambda x: -corner(x), bright()).flatten().allclose(-found.flatten())


@pytest.mark.slow
def test_what_is_added_to_the_value_changes_nothing() -> None:
    torch.testing.assert_close(
        rise(lambda x: corner(x) + 1000.0, bright()), rise(corner, bright()), rtol=1e-2, atol=0.1
    )
    assert rise(lambda x: 0 * corner(x) + 5.0, bright()).abs().max() < 1e-4


def test_of_vectors_it_is_high_where_keeping_pixels_keeps_them_near() -> None:
    found = rise(lambda x: torch.stack([corner(x), -corner(x)], 1), bright())
    assert found[:, 0, :6, :6].mean() > 5 * found[:, 0, 12:, 12:].abs().mean()


def test_a_seed_repeats_it_and_masks_cover_every_pixel_evenly() -> None:
    obs = observations()
    first, again = rise(corner, obs, masks=50), rise(corner, obs, masks=50)
    other = rise(corner, obs, masks=50, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, again) and not torch.equal(first, other)
    seen = []
    rise(lambda x: seen.append(x[0, 0]) or x.mean((1, 2, 3)), torch.eye(SIDE).expand(1, 3, -1, -1) * 24, masks=400)
    kept = (torch.stack(seen[1:])[:, range(SIDE), range(SIDE)] - 1) / 23  # the diagonal's mean is 1, its value 24
    assert kept.min() >= -1e-5 and kept.max() <= 1 + 1e-5
    assert (kept.mean(0) - 0.5).abs().max() < 0.1


@pytest.mark.parametrize("settings", [{"masks": 1}, {"cells": 1}, {"kept": 0.0}, {"kept": 1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(FovealError, match="at least 2 masks"):
        rise(corner, observations(), **settings)
