"""Integrated gradients against captum, and their completeness."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients

from foveal.errors import FovealError
from foveal.saliency.integrated_gradients import integrated_gradients
from small_networks import Small, observations


@pytest.mark.parametrize("baseline", [0.0, 100.0])
def test_it_is_captums(baseline: float) -> None:
    network, obs = Small(), observations()
    theirs = IntegratedGradients(network).attribute(obs, baseline, target=2, n_steps=32, method="gausslegendre")
    ours = integrated_gradients(lambda x: network(x)[:, 2], obs, baseline=baseline)
    torch.testing.assert_close(ours, theirs.detach().float(), rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


def test_it_adds_up_to_what_the_value_gained() -> None:
    network, obs = Small(), observations(3)
    fn = lambda x: network(x)[:, 0]  # noqa: E731
    with torch.no_grad():
        gained = fn(obs) - fn(torch.zeros_like(obs))
    torch.testing.assert_close(integrated_gradients(fn, obs, steps=200).flatten(1).sum(1), gained, rtol=1e-2, atol=1e-3)


def test_of_a_quadratic_it_is_exact_with_one_step() -> None:
    obs = observations()
    torch.testing.assert_close(integrated_gradients(lambda x: (x**2).sum(), obs, steps=1), obs**2)


def test_no_step_is_refused() -> None:
    with pytest.raises(FovealError, match="at least one step"):
        integrated_gradients(lambda x: x.sum(), observations(), steps=0)
