"""Maps under random weights: what depends on them is destroyed, and guided backpropagation shows that it does less."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency import gradient, guided_backprop
from foveal.saliency.randomisation import Numbers, _correlation, _ranks, cascade, likeness, weights_of
from small_networks import SIDE, Small, observations


def value(network: Small) -> object:
    return lambda obs: network(obs)[:, 1]


def rank_correlation(one: Tensor, other: Tensor) -> Numbers:
    """What ``likeness`` is made of."""
    return _correlation(_ranks(one), _ranks(other))


def test_weights_are_found_in_the_graph_the_topmost_first() -> None:
    network = Small()
    found = weights_of(value(network), observations())
    wanted = [network.out.weight, network.hidden.weight, network.second.weight, network.first.weight]
    assert [id(one) for one in found] == [id(one) for one in wanted]


def test_what_is_frozen_is_not_found_and_pixels_are_no_weights() -> None:
    network = Small().requires_grad_(False)
    assert weights_of(value(network), observations()) == []
    with pytest.raises(FovealError, match="wants weights"):
        cascade(lambda: torch.zeros(1, 2, 2), [])


def test_randomised_networks_change_their_gradients_and_are_put_back() -> None:
    network, obs = Small(), observations(4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fn = value(network)
    counts, alike = cascade(lambda: gradient(fn, obs).abs().amax(1), weights_of(fn, obs))
    assert counts == [1, 2, 3, 4] and alike.shape == (4, 4)
    assert abs(alike[-1].mean()) < 0.3
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert np.array_equal(cascade(lambda: gradient(fn, obs).abs().amax(1), weights_of(fn, obs))[1], alike)


def test_weights_are_put_back_where_a_map_fails() -> None:
    network, times = Small(), []
    before = network.out.weight.detach().clone()

    def fails() -> Tensor:
        times.append(1)
        if len(times) > 1:
            raise ZeroDivisionError
        return torch.rand(1, 4, 4)

    with pytest.raises(ZeroDivisionError):
        cascade(fails, weights_of(value(network), observations()))
    assert torch.equal(network.out.weight, before)


def test_borders_make_maps_of_any_networks_alike_and_are_taken_out() -> None:
    obs = observations(6)
    one, other = (gradient(value(Small(seed)), obs).abs().amax(1) for seed in (0, 1))
    assert rank_correlation(one, other).mean() > 0.4 and abs(likeness(one, other).mean()) < 0.2
    with pytest.raises(FovealError, match="at least two pictures"):
        likeness(one[:1], other[:1])


def test_a_map_that_is_gone_is_not_alike_and_one_that_never_was_is_undefined() -> None:
    weights = [torch.ones(2, 2)]
    own = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    _, alike = cascade(lambda: own if weights[0].eq(1).all() else torch.zeros(3, 4, 4), weights)
    assert alike.tolist() == [[0.0, 0.0, 0.0]]
    assert np.isnan(cascade(lambda: torch.ones(3, 4, 4), weights)[1]).all()


def test_a_map_of_the_picture_alone_is_not_destroyed() -> None:
    network, obs = Small(), observations()
    edges = obs.diff(dim=2, append=obs[:, :, -1:]).abs().amax(1)
    _, alike = cascade(lambda: edges, weights_of(value(network), obs))
    assert alike == pytest.approx(1.0)


def test_guided_backpropagation_survives_random_layers_on_top_where_the_gradient_does_not() -> None:
    """Adebayo et al. 2018, figure 2; a picture of a few blocks, because noise has no edges."""
    network = Small()
    obs = torch.full((3, 3, SIDE, SIDE), 60.0)
    for place in range(3):
        obs[place, :, 5 + 2 * place : 14, 4 : 10 + 3 * place] = 220.0
    fn, tops = value(network), weights_of(value(network), obs)[:2]
    alike = {
        made.__name__: cascade(lambda made=made: made(fn, obs).abs().amax(1), tops)[1][-1].mean()
        for made in (gradient, guided_backprop)
    }
    assert alike["guided_backprop"] > alike["gradient"]


@pytest.mark.slow
@given(st.lists(st.integers(0, 9), min_size=12, max_size=12), st.lists(st.integers(0, 9), min_size=12, max_size=12))
def test_rank_correlation_is_scipys(a: list[int], b: list[int]) -> None:
    one, other = (torch.tensor(values).float().view(1, 3, 4) for values in (a, b))
    found = rank_correlation(one, other)[0]
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
