"""SmoothGrad against closed forms and captum."""

from __future__ import annotations

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import gradient
from foveal.saliency.smoothgrad import smoothgrad
from small_networks import Small, observations


def test_of_a_linear_function_it_is_the_gradient() -> None:
    obs = observations()
    weights = torch.randn(obs.shape[1:], generator=torch.Generator().manual_seed(0))
    found = smoothgrad(lambda x: (x * weights).flatten(1).sum(1), obs, samples=3)
    torch.testing.assert_close(found, weights.expand_as(obs))


def test_without_noise_it_is_the_gradient() -> None:
    network, obs = Small(), observations()
    fn = lambda x: network(x)[:, 0]  # noqa: E731
    torch.testing.assert_close(smoothgrad(fn, obs, noise=0.0, samples=2), gradient(fn, obs))


def test_noise_is_a_share_of_the_observations_range_and_averages_out() -> None:
    """Of a cubic 3 (x + e)^2 is the gradient: 3 x^2 + 3 sigma^2 on average."""
    obs = torch.zeros(1, 1, 100, 100)
    obs[0, 0, 0, :2] = torch.tensor([-2.0, 8.0])
    found = smoothgrad(lambda x: (x**3).sum(), obs, samples=50, noise=0.1)
    assert found[0, 0, 1:].mean() == pytest.approx(3.0, rel=0.02)  # (0.1 * 10)^2 * 3


@pytest.mark.slow
def test_it_agrees_with_captum_where_both_have_many_samples() -> None:
    torch.manual_seed(0)
    network, obs = Small().eval(), observations(1)
    spread = float(1.0 * (obs.max() - obs.min()))
    tunnel = NoiseTunnel(Saliency(network))
    theirs = tunnel.attribute(obs, nt_samples=400, stdevs=spread, target=1, abs=False).detach()
    ours = smoothgrad(lambda x: network(x)[:, 1], obs, samples=400, noise=1.0)
    plain = gradient(lambda x: network(x)[:, 1], obs)
    assert _correlation(ours, theirs) > 0.997
    assert _correlation(plain, theirs) < 0.98  # the comparison can fail


def test_a_generator_of_ones_own_draws_other_noise() -> None:
    network, obs = Small(), observations()
    fn = lambda x: network(x)[:, 0]  # noqa: E731
    first, again = smoothgrad(fn, obs), smoothgrad(fn, obs)
    other = smoothgrad(fn, obs, generator=torch.Generator().manual_seed(7))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("settings", [{"samples": 0}, {"noise": -0.1}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(FovealError, match="at least one sample"):
        smoothgrad(lambda x: x.sum(), observations(), **settings)


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
