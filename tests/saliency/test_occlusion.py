"""Occlusion against captum and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.occlusion import occlusion
from small_networks import SIDE, Small, observations


@pytest.mark.parametrize(("patch", "stride"), [(6, 3), (8, 8), (5, 4)])
def test_it_is_captums(patch: int, stride: int) -> None:
    network, obs = Small(), observations()
    theirs = Occlusion(network).attribute(obs, (3, patch, patch), (3, stride, stride), baselines=20.0, target=1)
    ours = occlusion(lambda x: network(x)[:, 1], obs, patch=patch, stride=stride, baseline=20.0)
    torch.testing.assert_close(ours, theirs[:, :1].detach(), rtol=1e-4, atol=1e-5)


def test_of_one_pixel_it_is_large_where_that_is_covered_and_zero_elsewhere() -> None:
    obs = torch.zeros(1, 1, 21, 21)
    obs[0, 0, 10, 10] = 100.0
    found = occlusion(lambda x: x[:, 0, 10, 10], obs, patch=3, stride=1, baseline=0.0)[0, 0]
    assert found[10, 10] == 100.0 and found.argmax() == 10 * 21 + 10
    assert found[7:14, 7:14].gt(0).sum() == 25 and float(found.sum() - found[8:13, 8:13].sum()) == pytest.approx(
        0, abs=1e-3
    )


def test_vectors_are_compared_by_how_far_they_move_and_nothing_needs_a_gradient() -> None:
    def decide(x: Tensor) -> Tensor:
        pixels = x.numpy()  # as a policy does that is none of PyTorch's
        return torch.from_numpy(np.stack([pixels[:, 0, :12].mean((1, 2)), -pixels[:, 0, :12].mean((1, 2))], 1))

    found = occlusion(decide, observations())
    assert found.shape == (2, 1, SIDE, SIDE) and found.min() >= 0
    assert found[:, :, :10].mean() > 0 and found[:, :, 16:].abs().max() == 0


def test_every_call_has_all_samples_so_that_functions_may_close_over_something_of_each() -> None:
    factors, batches = torch.tensor([1.0, 5.0]), set()

    def fn(x: Tensor) -> Tensor:
        batches.add(len(x))
        return factors * x.mean((1, 2, 3))

    found = occlusion(fn, observations(1).expand(2, -1, -1, -1))
    assert batches == {2}
    torch.testing.assert_close(found[1], 5 * found[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("settings", [{"patch": 0}, {"patch": 3, "stride": 0}, {"patch": 3, "stride": 4}])
def test_patches_that_leave_gaps_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(FovealError, match="at least 1 pixel"):
        occlusion(lambda x: x.mean((1, 2, 3)), observations(), **settings)


def test_a_function_that_gives_something_else_is_refused() -> None:
    with pytest.raises(FovealError, match=r"one value, or one vector, per sample.*\(2, A\), not \(\)"):
        occlusion(lambda x: x.sum(), observations())
