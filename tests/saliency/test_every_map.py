"""The contract of every registered map."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.saliency import SALIENCY, black_boxes, needs_choices, needs_gradient
from foveal.saliency.values import blurred, values_of
from small_networks import SIDE, Small, observations


@pytest.mark.slow
@pytest.mark.parametrize("name", SALIENCY.names())
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_map_has_a_shape_and_leaves_no_trace(name: str, dtype: torch.dtype) -> None:
    network, obs = Small(), observations().to(dtype)
    before = obs.clone()
    state = torch.get_rng_state()

    def fn(x: Tensor) -> Tensor:
        return network(x) if needs_choices(name) else network(x)[:, 1]

    found, again = SALIENCY.get(name)(fn, obs), SALIENCY.get(name)(fn, obs)
    assert found.shape in {(2, 3, SIDE, SIDE), (2, 1, SIDE, SIDE)} and found.isfinite().all() and found.any()
    assert torch.equal(found, again) and not found.requires_grad
    assert torch.equal(obs, before) and torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SALIENCY.names() if n not in ("smoothgrad",)])
def test_samples_do_not_depend_on_one_another(name: str) -> None:
    network, obs = Small(), observations()
    fn = network if needs_choices(name) else lambda x: network(x)[:, 1]
    whole = SALIENCY.get(name)(fn, obs)
    torch.testing.assert_close(SALIENCY.get(name)(fn, obs[1:]), whole[1:], rtol=1e-3, atol=1e-5)


def test_which_maps_need_what() -> None:
    assert black_boxes() == ["occlusion", "rise", "sarfa"]
    assert needs_gradient("grad_cam") and not needs_gradient("rise")
    assert [name for name in SALIENCY.names() if needs_choices(name)] == ["sarfa"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["occlusion", "rise", "sarfa"])
def test_black_box_maps_ask_for_no_gradient(name: str) -> None:
    network = Small()

    def fn(x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled() and not x.requires_grad
        return network(x)

    SALIENCY.get(name)(fn, observations())


# --- values and blur --------------------------------------------------------------------------------------------------


def test_values_are_columns() -> None:
    obs = observations(1)
    assert values_of(lambda x: x.sum(), obs).shape == (1, 1)
    assert values_of(lambda x: x.mean((1, 2, 3)), observations(3)).shape == (3, 1)
    assert values_of(lambda x: x.mean((2, 3)), observations(2)).shape == (2, 3)


@given(st.floats(0.3, 6.0))
@settings(max_examples=10, deadline=None)
def test_a_blur_keeps_even_pictures_and_the_weight_of_a_point(sigma: float) -> None:
    torch.testing.assert_close(blurred(torch.full((1, 3, 9, 12), 7.0), sigma), torch.full((1, 3, 9, 12), 7.0))
    point = torch.zeros(1, 1, 61, 61)
    point[0, 0, 30, 30] = 1.0
    found = blurred(point, sigma)[0, 0]
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-4)
    places = torch.arange(61.0) - 30
    variance = float((found.sum(1) * places**2).sum())
    if sigma >= 1:
        assert variance == pytest.approx(sigma**2, rel=0.05)
